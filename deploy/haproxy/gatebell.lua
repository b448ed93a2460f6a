-- Asks Gatebell whether a request may pass: `http-request lua.gatebell <address>` (see haproxy.cfg). Allowed: the
-- identity is put into the request, and HAProxy goes on. Anything else ends here, with the gate's answer, or with 503
-- when there was none.

-- What the gate looks at, and no more. A header that came twice is told twice, and refused there.
local PASSED = {
    'authorization', 'cookie', 'accept', 'x-requested-with', 'sec-fetch-mode', 'origin',
    'access-control-request-method', 'depth', 'destination', 'x-copy-from', 'x-amz-copy-source',
}
-- Headers of a 200 that the app gets; what the client sent under these names has been removed before. Names that an
-- app's or route's own header templates use belong here and among those that haproxy.cfg removes. The last two come
-- with GATEBELL_STRIP_CREDENTIALS only.
local COPIED = {
    'remote-user', 'remote-name', 'remote-email', 'remote-groups', 'x-gatebell-app', 'x-gatebell-role',
    'cookie', 'authorization',
}
-- Headers of a refusal that the client gets.
local TOLD = { 'x-gatebell-reason', 'www-authenticate', 'location', 'retry-after' }
local REFUSALS = {
    [302] = true, [400] = true, [401] = true, [403] = true, [404] = true, [405] = true, [408] = true, [413] = true,
    [414] = true, [431] = true, [503] = true,
}
-- Only the path says something: where it goes is the address that the action is given.
local ASKED = 'http://gatebell/auth/haproxy'
local TIMEOUT_MS = 12000

core.register_action('gatebell', { 'http-req' }, function(txn, address)
    local headers = {
        ['x-forwarded-method'] = { txn.sf:method() },
        ['x-forwarded-proto'] = { txn:get_var('txn.scheme') },
        ['x-forwarded-host'] = { txn.sf:req_fhdr('host') },
        ['x-forwarded-uri'] = { txn.sf:pathq() },
        ['x-forwarded-for'] = { txn.sf:src() },
    }
    local sent = txn.http:req_get_headers()
    for _, name in ipairs(PASSED) do
        for i = 0, sent[name] and #sent[name] or -1 do
            headers[name] = headers[name] or {}
            table.insert(headers[name], sent[name][i])
        end
    end
    -- Protected: what fails in here must not let the request pass.
    local asked, answer = pcall(function()
        return core.httpclient():head { url = ASKED, dst = address, headers = headers, timeout = TIMEOUT_MS }
    end)
    local status = asked and answer and answer.status
    if status == 200 and answer.headers['x-gatebell-reason'] then
        for _, name in ipairs(COPIED) do
            local values = answer.headers[name]
            if values then
                txn.http:req_del_header(name)
                if values[0] ~= '' then
                    txn.http:req_add_header(name, values[0])
                end
            end
        end
        return
    end
    local reply = txn:reply { status = REFUSALS[status] and status or 503 }
    reply:add_header('cache-control', 'no-store')
    for _, name in ipairs(TOLD) do
        local values = REFUSALS[status] and answer.headers[name]
        if values then
            reply:add_header(name, values[0])
        end
    end
    if not REFUSALS[status] then
        reply:add_header('x-gatebell-reason', 'unavailable')
        reply:add_header('retry-after', '1')
    end
    txn:done(reply)
end, 1)
