import { describe, expect, test } from 'vitest';
import { judgeVersion } from '../../../src/commands/doctor/doctor.js';

describe('the version of Postgres', () => {
  test.each([140_020, 130_000, 90_600, 0])('%s is too old', version => {
    expect(judgeVersion(version)).toMatchObject({ ok: false });
  });

  test.each([150_015, 150_000, 160_011, 170_007, 180_001, 180_000])('%s works, and can fail LISTEN', version => {
    const { ok, warning, detail } = judgeVersion(version);
    expect([ok, warning]).toEqual([true, true]);
    expect(detail).toMatch(/update to (?:15\.16|16\.12|17\.8|18\.2) or newer/);
  });

  test.each([150_016, 150_017, 160_012, 170_008, 180_002, 180_004, 190_000, 200_001])('%s is well', version => {
    expect(judgeVersion(version)).not.toHaveProperty('warning');
    expect(judgeVersion(version)).toMatchObject({ ok: true });
  });
});
