/** Options as they are given, and what is stored of them. Undefined leaves what is stored as it is. */

/** An option that may be repeated; false: it was given as `--no-…`, which clears what is stored. */
export type Several = readonly string[] | false;

/** What is stored of an option with one value. */
export const textOf = (given: string | false | undefined): string | null | undefined =>
  given === false ? null : given;

/** What is stored of an option that may be repeated. */
export const textsOf = (given: Several | undefined): readonly string[] | undefined => (given === false ? [] : given);
