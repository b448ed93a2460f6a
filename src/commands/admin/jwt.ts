/** `gatebell jwt`: JWTs of an issuer that are revoked before they expire. */
import type { Command } from 'commander';
import type { CommandContext } from '../context.js';
import type { Definer } from '../define.js';
import { takeAway, type WaitOption } from './denial.js';
import { readExpiry, type ExpiresOption } from './expiry.js';
import { list, rowOrFail, thereIsNo } from './rows.js';

/** Rows are not needed once their JWT has expired; leeway and the clocks of issuers are less than this. */
const REVOKED_JWTS_KEPT = '1 day';

async function revoke(
  context: CommandContext,
  jti: string,
  { expires, ...options }: WaitOption & ExpiresOption,
): Promise<void> {
  const expiry = readExpiry(expires, 2);
  const expiresAt = expires === undefined ? 'r.expires_at' : 'excluded.expires_at';
  await takeAway(
    context,
    options,
    async client => {
      const row = await rowOrFail(
        client,
        `insert into gatebell.revoked_jwts as r (jti, expires_at) values ($1, ${expiry.text})
         on conflict (jti) do update set expires_at = ${expiresAt} returning jti, revoked_at, expires_at`,
        [jti, ...expiry.values],
        'nothing was revoked',
        { jti },
      );
      await client.query('delete from gatebell.revoked_jwts where expires_at < now() - $1::interval', [
        REVOKED_JWTS_KEPT,
      ]);
      return row;
    },
    `the JWT with jti ${JSON.stringify(jti)} was revoked`,
  );
}

const revokeAll = (context: CommandContext, user: string, options: WaitOption): Promise<void> =>
  takeAway(
    context,
    options,
    client =>
      rowOrFail(
        client,
        'update gatebell.users set jwt_not_before = now() where name = $1 returning id, name, jwt_not_before',
        [user],
        thereIsNo('user', user),
      ),
    `all JWTs of ${user} that were issued until now were revoked`,
  );

const listRevoked = (context: CommandContext): Promise<void> =>
  list(context, 'select jti, revoked_at, expires_at from gatebell.revoked_jwts order by revoked_at, jti');

export function defineJwt(program: Command, { define, defineDenial }: Definer): void {
  const jwt = program.command('jwt').description('JWTs of your issuer that do not count any more');
  defineDenial(jwt, 'revoke <jti>', 'revoke the one with this id', revoke).option(
    '--expires <when>',
    'when it expires by itself, not earlier than its exp: its id is kept until then; 90s, 15m, 12h, 30d, 2w, or a time',
  );
  defineDenial(
    jwt,
    'revoke-all <user>',
    'revoke all that were issued until now: sign a user out everywhere',
    revokeAll,
  );
  define(jwt, 'list', 'list the ids that are revoked', listRevoked);
}
