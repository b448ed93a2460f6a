/**
 * One sign-in under way: what must be the same when the browser comes back from the provider. It travels with the
 * browser, sealed, in a cookie of its own; so any replica finishes what another has begun, nothing is kept here, and an
 * answer of the provider that was meant for another browser is useless (login CSRF).
 */
import { hkdfSync } from 'node:crypto';
import { EncryptJWT, errors, jwtDecrypt, type JWTPayload } from 'jose';

export interface Flow {
  /** What the provider hands back with its answer. */
  readonly state: string;
  /** What it puts into the ID token. */
  readonly nonce: string;
  /** Proves that the code is redeemed by the party that asked for it (PKCE). */
  readonly codeVerifier: string;
  /** Where the provider sends the browser back to: it names the host on which the sign-in began. */
  readonly redirectUri: string;
  /** Where the browser wanted to go; null: nowhere. */
  readonly returnTo: string | null;
}

/** Seals and opens flows. */
export interface FlowSealer {
  seal(flow: Flow): Promise<string>;
  /** Null for what was not sealed with the same key, or is too old. */
  open(sealed: string): Promise<Flow | null>;
  /** The same for an address to return to, so that a browser finds there that has lost the flow. */
  sealAddress(address: string): Promise<string>;
  openAddress(sealed: string): Promise<string | null>;
}

/** How long a person may take at the provider. */
export const FLOW_SECONDS = 600;
/** Replicas' clocks may differ by this much. */
const TOLERANCE_SECONDS = 10;
const KEY_BYTES = 32;
const ALGORITHMS = { keyManagementAlgorithms: ['dir'], contentEncryptionAlgorithms: ['A256GCM'] };

const isText = (value: unknown): value is string => typeof value === 'string';

/**
 * Creates a sealer. Its key is derived from the client's secret, which all replicas have.
 *
 * @param context distinguishes one client of one provider from another with the same secret
 */
export function createFlowSealer(clientSecret: string, context: string, nowMs: () => number = Date.now): FlowSealer {
  const key = new Uint8Array(hkdfSync('sha256', clientSecret, '', `gatebell sign-in flow 1\n${context}`, KEY_BYTES));
  const seal = (payload: JWTPayload): Promise<string> =>
    new EncryptJWT(payload)
      .setProtectedHeader({ alg: 'dir', enc: 'A256GCM' })
      .setExpirationTime(Math.floor(nowMs() / 1_000) + FLOW_SECONDS)
      .encrypt(key);
  const open = async (sealed: string): Promise<JWTPayload | null> => {
    try {
      const { payload } = await jwtDecrypt(sealed, key, {
        ...ALGORITHMS,
        requiredClaims: ['exp'],
        clockTolerance: TOLERANCE_SECONDS,
        currentDate: new Date(nowMs()),
      });
      return payload;
    } catch (error) {
      if (error instanceof errors.JOSEError) {
        return null;
      }
      throw error;
    }
  };
  return {
    seal: ({ state, nonce, codeVerifier, redirectUri, returnTo }) =>
      seal({ state, nonce, codeVerifier, redirectUri, returnTo }),
    async open(sealed) {
      const { state, nonce, codeVerifier, redirectUri, returnTo } = (await open(sealed)) ?? {};
      return isText(state) &&
        isText(nonce) &&
        isText(codeVerifier) &&
        isText(redirectUri) &&
        (isText(returnTo) || returnTo === null)
        ? { state, nonce, codeVerifier, redirectUri, returnTo }
        : null;
    },
    sealAddress: address => seal({ address }),
    async openAddress(sealed) {
      const address = (await open(sealed))?.['address'];
      return isText(address) ? address : null;
    },
  };
}
