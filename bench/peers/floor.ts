/**
 * The floor: bare `node:http` that looks at nothing and answers 200 with the headers of `PEER_HEADERS`, a JSON array of
 * names and values.
 */
import { serve, setting } from './peer.js';

const headers = JSON.parse(setting('PEER_HEADERS')) as string[];

serve((_, response) => {
  response.writeHead(200, headers);
  response.end();
});
