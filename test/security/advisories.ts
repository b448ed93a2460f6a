/**
 * What has gone wrong in programs like this one: each class of holes, and where it was seen. Each class is a test file
 * that names it.
 */
export const ADVISORIES: Readonly<Record<string, readonly string[]>> = {
  'a rule sees query or fragment': ['CVE-2025-54576', 'CVE-2026-41059', 'CVE-2023-47106'],
  'path normalisation': ['GHSA-p224-6x5r-fjpm', 'CVE-2025-66490', 'CVE-2026-27587'],
  'spoofed forwarding headers': ['CVE-2026-40575', 'CVE-2023-36456'],
  'underscore aliases': ['CVE-2026-39858', 'CVE-2025-64484'],
  'duplicate headers': ['CVE-2021-32777'],
  'metadata stripped as hop-by-hop': ['CVE-2024-45410'],
  'allow without identity': ['CVE-2026-30851'],
  'host spellings': ['CVE-2026-77560', 'CVE-2026-48794'],
  'cache-key confusion': ['CVE-2021-32701', 'CVE-2024-47077', 'CVE-2026-71326'],
  'fail open': ['CVE-2026-54762'],
  'open redirect': ['CVE-2020-5233', 'CVE-2021-21291'],
  'disabled accounts': ['CVE-2025-53942'],
  'limiter locks everyone out': ['CVE-2026-77561'],
};
