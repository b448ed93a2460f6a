/** How a real app behind a proxy is asked. */
import { bytesOf, exchangeBytes, type Pairs } from '../../support/proxy-client.js';
import type { Front } from './neighbourhood.js';

export interface NeighbourBehaviour {
  readonly title: string;
  /** Fails, or tells what there is to tell. */
  readonly run: (front: Front) => Promise<string | void>;
}

/** Asks with raw bytes. */
export const ask = (port: number, line: string, ...headers: Pairs): Promise<string> =>
  exchangeBytes(port, bytesOf(`${line} HTTP/1.1`, headers));

export const bodyOf = (answer: string): string => answer.slice(answer.indexOf('\r\n\r\n') + 4);
