/**
 * Whether a series grows: the slope of the straight line that fits it best, with its standard error. Endpoints would
 * tell little: each sample has noise, and the first and the last are two of many.
 */

export interface Sample {
  readonly atSeconds: number;
  readonly value: number;
}

/** All per second. */
export interface Slope {
  readonly slope: number;
  readonly standardError: number;
  /** Three standard errors below the slope: hardly ever is the true slope less, if samples err independently. */
  readonly lowerBound: number;
}

const STANDARD_ERRORS = 3;

/** Ordinary least squares. @throws RangeError with fewer than three samples, or all at one time */
export function fitSlope(samples: readonly Sample[]): Slope {
  const count = samples.length;
  const mean = (of: (sample: Sample) => number): number =>
    samples.reduce((total, sample) => total + of(sample), 0) / count;
  const [meanAt, meanValue] = [mean(({ atSeconds }) => atSeconds), mean(({ value }) => value)];
  const spread = mean(({ atSeconds }) => (atSeconds - meanAt) ** 2) * count;
  if (count < 3 || spread === 0) {
    throw new RangeError(`no slope fits ${count} samples`);
  }
  const slope = (mean(({ atSeconds, value }) => (atSeconds - meanAt) * (value - meanValue)) * count) / spread;
  const residuals = mean(({ atSeconds, value }) => (value - meanValue - slope * (atSeconds - meanAt)) ** 2) * count;
  const standardError = Math.sqrt(residuals / (count - 2) / spread);
  return { slope, standardError, lowerBound: slope - STANDARD_ERRORS * standardError };
}
