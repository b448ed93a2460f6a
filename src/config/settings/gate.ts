/** The settings of the gate: who may ask, and what the answers carry. */
import { addressProblem, addressRanges, headerSecret } from '../parsers.js';
import type { Setting } from '../setting.js';

const HEADER_SECRET = '16 to 256 printable ASCII characters without spaces';

/** All of them. */
export const GATE_SETTINGS = {
  trustedProxies: {
    variable: 'GATEBELL_TRUSTED_PROXIES',
    flag: 'trusted-proxies',
    help: 'addresses and ranges of the proxies that may ask; over a Unix socket, its mode says who may',
    allowed: 'IP addresses and CIDR ranges, separated by commas',
    fallback: '127.0.0.0/8,::1',
    parse: addressRanges,
    explain: addressProblem,
  },
  proxySecret: {
    variable: 'GATEBELL_PROXY_SECRET',
    flag: 'proxy-secret-file',
    help: 'secret that proxies must show in X-Gatebell-Secret, where addresses say too little',
    allowed: HEADER_SECRET,
    parse: headerSecret,
    kind: 'secret',
  },
  unknownAppStatus: {
    variable: 'GATEBELL_UNKNOWN_APP_STATUS',
    flag: 'unknown-app-status',
    help: 'status for a host that no app has',
    allowed: '403 or 404',
    fallback: '403',
    parse: text => ([403, 404] as const).find(status => String(status) === text),
  },
  stripCredentials: {
    variable: 'GATEBELL_STRIP_CREDENTIALS',
    flag: 'strip-credentials',
    help: 'whether a 200 carries Cookie and Authorization without the credential, for the proxy to pass on',
    allowed: 'true or false',
    fallback: 'false',
    parse: text => (text === 'true' ? true : text === 'false' ? false : undefined),
  },
  opsToken: {
    variable: 'GATEBELL_OPS_TOKEN',
    flag: 'ops-token-file',
    help: 'bearer token for /metrics and /status of the ops port',
    allowed: HEADER_SECRET,
    parse: headerSecret,
    kind: 'secret',
  },
} as const satisfies Readonly<Record<string, Setting>>;
