"""An S3 server: moto, answering one request after another.

moto looks whether an object is there, and then writes it; with one request at a time nothing comes in between. Told to be
`deaf`, it does not hear conditions, like many servers that speak the language of S3.
"""

import sys

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple


class Deaf:
    def __init__(self, app):
        self.app = app

    def __call__(self, environ, start_response):
        environ.pop("HTTP_IF_NONE_MATCH", None)
        return self.app(environ, start_response)


port, kind = int(sys.argv[1]), sys.argv[2]
app = DomainDispatcherApplication(create_backend_app)
run_simple("127.0.0.1", port, Deaf(app) if kind == "deaf" else app, threaded=False)
