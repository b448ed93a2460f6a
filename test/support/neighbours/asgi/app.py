"""An ASGI app for hypercorn, which takes upgrades to h2c.

It answers with what it believes of a request, and echoes WebSockets.
"""

import json


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            await send({"type": "websocket.send", "text": message.get("text"), "bytes": message.get("bytes")})
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    section = "admin" if (scope["path"] + "/").startswith("/admin/") else "elsewhere"
    belief = {
        "section": section,
        "method": scope["method"],
        "path": scope["path"],
        "user": headers.get("remote-user", ""),
    }
    body = json.dumps(belief).encode()
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": body})
