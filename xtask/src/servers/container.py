"""Makes a container on the Azurite at a port: OpenDAL makes none, and the request must be signed."""

import base64
import email.utils
import hashlib
import hmac
import sys
import urllib.request

port, account, key, container = sys.argv[1:]
date = email.utils.formatdate(usegmt=True)
resource = f"/{account}/{account}/{container}\nrestype:container"
to_sign = f"PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:{date}\nx-ms-version:2021-08-06\n{resource}"
digest = hmac.new(base64.b64decode(key), to_sign.encode(), hashlib.sha256).digest()
request = urllib.request.Request(
    f"http://127.0.0.1:{port}/{account}/{container}?restype=container",
    method="PUT",
    headers={
        "x-ms-date": date,
        "x-ms-version": "2021-08-06",
        "Authorization": f"SharedKey {account}:{base64.b64encode(digest).decode()}",
    },
)
print(urllib.request.urlopen(request, timeout=60).status)
