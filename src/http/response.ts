/**
 * Answers whose status line and headers are composed once. Node composes their text anew for every answer, and checks
 * each name and value again, which costs a tenth of a whole request. Here the text that Node composed for one answer is
 * kept, and given back to Node for the next that is the same, with the date of today.
 *
 * Node keeps that text in `_header` until it is sent with the first write. That it may be set is not documented; a test
 * compares the bytes that are sent. Where there is no such text, nothing is kept, and Node composes every answer.
 */
import { ServerResponse, type IncomingMessage } from 'node:http';

const DATE = '\r\nDate: ';
const DATE_CHARACTERS = 29;
const KEPT_ALIVE = '\r\nConnection: keep-alive\r\n';

/** Status line and headers, the same from answer to answer but for their date. */
export class CachedHead {
  /** What stands before the date; null: nothing was composed yet. */
  before: string | null = null;
  /** What stands after the date: what Node says of the connection. */
  after: string = '';
  /** Of the newest answer, since 1970. */
  second: number = -1;
  /** All of it with the date of that second, from the second answer in it on; else empty. */
  text: string = '';
}

/** The newest date with what stood after it: the same for all heads of one second. */
let dated = { second: -1, after: '', text: '' };

function dateAnd(after: string, second: number): string {
  if (dated.second !== second || dated.after !== after) {
    dated = { second, after, text: new Date(second * 1_000).toUTCString() + after };
  }
  return dated.text;
}

/** A response of our own servers: nobody has set headers on it before it is given a head. */
export class GateResponse<Request extends IncomingMessage = IncomingMessage> extends ServerResponse<Request> {
  /** What Node has composed. */
  declare _header?: string | null;

  /** Like the `writeHead` that the head was kept of; false if there is none that fits. */
  writeCached(head: CachedHead): boolean {
    // Connections that end have another text.
    if (head.before === null || !this.shouldKeepAlive) {
      return false;
    }
    const second = Math.floor(Date.now() / 1_000);
    if (second !== head.second) {
      // Not kept: with many users, most heads are used less than once a second, and the text would only be garbage.
      head.second = second;
      head.text = '';
      this._header = head.before + dateAnd(head.after, second);
      return true;
    }
    if (head.text === '') {
      head.text = head.before + dateAnd(head.after, second);
    }
    this._header = head.text;
    return true;
  }

  /** Keeps what Node has composed in `writeHead` of an answer with a Content-Length, if the connection stays. */
  keep(head: CachedHead): void {
    const text = this._header;
    if (typeof text !== 'string') {
      return;
    }
    // Node writes its date after all headers that it is given, and then what it says of the connection.
    const dateAt = text.lastIndexOf(DATE) + DATE.length;
    if (text.startsWith(KEPT_ALIVE, dateAt + DATE_CHARACTERS)) {
      head.before = text.slice(0, dateAt);
      head.after = text.slice(dateAt + DATE_CHARACTERS);
    }
  }
}
