/**
 * Requests whose headers are parsed only for who asks. Node parses all of them into an object just to look for `host`
 * and `expect`, which costs a twentieth of a whole request, while the gate reads `rawHeaders`. Here Node is told that
 * much alone.
 */
import { IncomingMessage, type IncomingHttpHeaders } from 'node:http';

/** A request of our own servers. */
export class GateRequest extends IncomingMessage {
  /** Whether Node still keeps it from the listener: so long `headers` are no more than Node needs, then all of them. */
  isArriving: boolean = true;
}

const HOST_ALONE: IncomingHttpHeaders = { host: '' };

/** Whether Node needs to know no more than that a host is named. */
function isOrdinary(rawHeaders: readonly string[]): boolean {
  let namesHost = false;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!;
    if (name.length === 4) {
      namesHost ||= name.toLowerCase() === 'host';
    } else if (name.length === 6 && name.toLowerCase() === 'expect') {
      return false;
    }
  }
  return namesHost;
}

Object.defineProperty(GateRequest.prototype, 'headers', {
  get(this: GateRequest): unknown {
    return this.isArriving && isOrdinary(this.rawHeaders)
      ? HOST_ALONE
      : Reflect.get(IncomingMessage.prototype, 'headers', this);
  },
});
