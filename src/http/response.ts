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
  /** What stands after the date: the headers of the connection. */
  after: string = '';
  /** When it was sent last, in seconds since 1970; -1: never. */
  second: number = -1;
  /** The whole head with the date of that second, if it was sent at least twice in it; else empty. */
  text: string = '';
}

/** The end of the head that was sent last: its date and what stands after it. Nearly all heads of a second share it. */
let end = { second: -1, after: '', text: '' };

function endOf({ after }: CachedHead, second: number): string {
  if (end.second !== second || end.after !== after) {
    end = { second, after, text: new Date(second * 1_000).toUTCString() + after };
  }
  return end.text;
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
    if (second === head.second && head.text !== '') {
      this._header = head.text;
      return true;
    }
    const text = head.before + endOf(head, second);
    // With many users, most heads are sent less than once per second: keeping their text would only make garbage.
    head.text = second === head.second ? text : '';
    head.second = second;
    this._header = text;
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
