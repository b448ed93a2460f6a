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
  /** As it was sent last; null: never. */
  text: string | null = null;
  /** Where its date begins. */
  dateAt: number = 0;
  /** Of its date, since 1970. */
  second: number = 0;
}

/** A response of our own servers: nobody has set headers on it before it is given a head. */
export class GateResponse<Request extends IncomingMessage = IncomingMessage> extends ServerResponse<Request> {
  /** What Node has composed. */
  declare _header?: string | null;

  /** Like the `writeHead` that the head was kept of; false if there is none that fits. */
  writeCached(head: CachedHead): boolean {
    // Connections that end have another text.
    if (head.text === null || !this.shouldKeepAlive) {
      return false;
    }
    const second = Math.floor(Date.now() / 1_000);
    if (second !== head.second) {
      const { text, dateAt } = head;
      const date = new Date(second * 1_000).toUTCString();
      head.text = text.slice(0, dateAt) + date + text.slice(dateAt + DATE_CHARACTERS);
      head.second = second;
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
      head.text = text;
      head.dateAt = dateAt;
    }
  }
}
