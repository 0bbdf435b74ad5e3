"""What the real cloud-init makes of contexts.

Reads lines of base64 from standard input, each a context, and writes for each a line of JSON: the kinds of the parts
that a handler took and that did not fail, in order, with what a part holds, or null where cloud-init gives the whole
up. A part in a message/rfc822 part, which cloud-init hands on twice under one name, is there once. Runs within a root
that has cloud-init (22.4 to 26.2).
"""

import base64
import json
import logging
import sys

logging.disable(logging.CRITICAL)

from cloudinit import handlers, templater, user_data, util  # noqa: E402

KINDS = {
    "text/cloud-config": "CloudConfig",
    "text/cloud-config-jsonp": "JsonPatch",
    "text/cloud-boothook": "Early",
    "text/part-handler": "Early",
    "text/jinja2": "Jinja",
    "text/x-shellscript": "Script",
    "text/x-shellscript-per-boot": "Script",
    "text/x-shellscript-per-instance": "Script",
    "text/x-shellscript-per-once": "Script",
}


class Processor(user_data.UserDataProcessor):
    """Does not fetch what a context includes, and says that it would."""

    def __init__(self):
        self.paths = None
        self.ssl_details = {}
        self.addresses = []

    def _do_include(self, content, append_msg):
        self.addresses.append(content)


def taken(kind, payload):
    """Whether the handler of this kind does something with it, and what."""
    if kind == "CloudConfig":
        loaded = util.load_yaml(payload)
        return loaded is not None
    # The kernel finds no interpreter without this. The handlers write the text to a file.
    if kind == "Jinja" and templater.detect_template(payload)[0] != "jinja":
        return False
    if kind == "Script" and not util.decode_binary(payload).startswith("#!"):
        return False
    try:
        util.encode_text(payload)
    except UnicodeEncodeError:
        return False
    return True


def parts(context):
    processor = Processor()
    try:
        message = processor.process(context)
    except Exception:
        return None
    found = []
    handed_on = set()

    def each(data, filename, payload, headers):
        kind = KINDS.get(headers["Content-Type"])
        if kind and payload is not None and taken(kind, payload):
            text = util.decode_binary(payload) if isinstance(payload, bytes) else payload
            if (filename, kind, text) not in handed_on:
                found.append([kind, text])
            handed_on.add((filename, kind, text))

    handlers.walk(message, each, None)
    return found + [["Include", util.decode_binary(text)] for text in processor.addresses]


for line in sys.stdin:
    print(json.dumps(parts(base64.b64decode(line))), flush=True)
