/** A clock that all processes of a host share: what one of them reads can be compared with what another does. */

/** Milliseconds since some moment, the same for every process (`CLOCK_MONOTONIC`). */
export function hostNowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
