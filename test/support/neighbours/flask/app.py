"""A Flask app with the middleware that is usual behind a proxy. It answers with what it believes of a request."""

from flask import Flask, jsonify, request
from werkzeug.middleware.proxy_fix import ProxyFix


class ReverseProxied:
    """As in Flask's collection of snippets: prefix, scheme and host come from headers."""

    def __init__(self, app):
        self.app = app

    def __call__(self, environ, start_response):
        prefix = environ.get("HTTP_X_SCRIPT_NAME", "")
        if prefix:
            environ["SCRIPT_NAME"] = prefix
            if environ["PATH_INFO"].startswith(prefix):
                environ["PATH_INFO"] = environ["PATH_INFO"][len(prefix):]
        if environ.get("HTTP_X_SCHEME"):
            environ["wsgi.url_scheme"] = environ["HTTP_X_SCHEME"]
        if environ.get("HTTP_X_FORWARDED_SERVER"):
            environ["HTTP_HOST"] = environ["HTTP_X_FORWARDED_SERVER"]
        return self.app(environ, start_response)


class MethodOverride:
    """As Flask's documentation has it."""

    ALLOWED = frozenset(["GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS"])

    def __init__(self, app):
        self.app = app

    def __call__(self, environ, start_response):
        method = environ.get("HTTP_X_HTTP_METHOD_OVERRIDE", "").upper()
        if method in self.ALLOWED:
            environ["REQUEST_METHOD"] = method
        return self.app(environ, start_response)


app = Flask(__name__)
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def believe(section):
    return jsonify(
        section=section,
        method=request.method,
        path=request.path,
        prefix=request.root_path,
        scheme=request.scheme,
        host=request.host,
        client=request.remote_addr,
        user=request.headers.get("Remote-User", ""),
    )


@app.route("/admin", methods=METHODS, provide_automatic_options=False)
@app.route("/admin/<path:rest>", methods=METHODS, provide_automatic_options=False)
def admin(rest=""):
    return believe("admin")


@app.route("/", methods=METHODS, provide_automatic_options=False)
@app.route("/<path:rest>", methods=METHODS, provide_automatic_options=False)
def elsewhere(rest=""):
    return believe("elsewhere")


fixed = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1, x_port=1, x_prefix=1)
app.wsgi_app = MethodOverride(ReverseProxied(fixed))
