<?php
// A front controller as many PHP apps have one. It answers with what it believes of a request.
function first(string ...$names): ?string
{
    foreach ($names as $name) {
        if (($_SERVER[$name] ?? '') !== '') {
            return $_SERVER[$name];
        }
    }
    return null;
}

$path = first('HTTP_X_ORIGINAL_URL', 'HTTP_X_REWRITE_URL', 'PATH_INFO') ?? strtok($_SERVER['REQUEST_URI'], '?');
$section = explode('/', $path)[1] ?? '';
$scheme = first('HTTP_X_FORWARDED_PROTO', 'HTTP_X_FORWARDED_PROTOCOL', 'HTTP_X_SCHEME', 'HTTP_X_URL_SCHEME');
$secure = strtolower($scheme ?? '') === 'https'
    || strtolower(first('HTTP_FRONT_END_HTTPS', 'HTTP_X_FORWARDED_SSL', 'HTTP_HTTPS', 'HTTPS') ?? '') === 'on';
header('Content-Type: application/json');
echo json_encode([
    'section' => in_array($section, ['admin', 'private'], true) ? $section : 'elsewhere',
    'method' => strtoupper(
        first('HTTP_X_HTTP_METHOD_OVERRIDE', 'HTTP_X_HTTP_METHOD', 'HTTP_X_METHOD_OVERRIDE', 'REQUEST_METHOD')
    ),
    'path' => $path,
    'prefix' => first('HTTP_X_FORWARDED_PREFIX', 'HTTP_X_SCRIPT_NAME') ?? '',
    'scheme' => $secure ? 'https' : 'http',
    'host' => first('HTTP_X_FORWARDED_HOST', 'HTTP_X_HOST', 'HTTP_HOST'),
    'client' => first(
        'HTTP_CF_CONNECTING_IP',
        'HTTP_TRUE_CLIENT_IP',
        'HTTP_CLIENT_IP',
        'HTTP_X_FORWARDED_FOR',
        'REMOTE_ADDR'
    ),
    'user' => first('REMOTE_USER', 'HTTP_REMOTE_USER', 'HTTP_X_FORWARDED_USER', 'HTTP_X_WEBAUTH_USER') ?? '',
]);
