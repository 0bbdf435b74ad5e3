"""Early mode: substitutes the placeholders before cloud-init looks at the parts of its user-data.

cernvm-cluster-contextualization.service comes after cloud-init's network stage, so what that stage has acted upon by
then (bootcmd, boothooks, part-handlers, users, and every placeholder that YAML took for a comment) it cannot reach.
This part-handler can. It hands the parts to the agent, which waits inside the network stage if the ucernvm section says

    cvm_cluster_early=yes

and else changes nothing. Waiting there holds up sshd and, on Debian, all of sysinit. The unit stays as the safety net:
where this fails, cloud-init goes on with the parts as they are.

The one thing that it relies on inside cloud-init is that `stages.py` calls `handlers.walk(message, callback, data)`
after every handler has had its "__begin__"; so it is from 22.4 to 26.2. Changing the message itself would not be
enough, since with a launch-index cloud-init walks over a copy.

It is valid for Python 2.7, which cloud-init 18.5 of Enterprise Linux 7 runs on, and for Python 3.
"""

import logging
import os
import re
import shutil
import subprocess
import tempfile
import threading

from cloudinit import handlers, util

LOG = logging.getLogger(__name__)

AGENT = "/usr/bin/cernvm-cluster-agent"
# The agent's own deadline is at most 3600 s; this is for an agent that hangs.
TIMEOUT_S = 3900
# On tmpfs, readable by root only: the parts hold secrets.
SCRATCH = "/run"

# What cloud-init asks of a part-handler. Called at every boot; no part has this type.
handler_version = 2
frequency = "always"


def list_types():
    return ["text/x-cernvm-cluster-early"]


def handle_part(_data, content_type, _filename, _payload, _frequency):
    if content_type == "__begin__" and not hasattr(handlers.walk, "original"):
        handlers.walk = substituting(handlers.walk)
    elif content_type == "__end__":
        handlers.walk = getattr(handlers.walk, "original", handlers.walk)


def substituting(walk):
    def walk_substituted(message, callback, data):
        substitutes = {}
        try:
            substitutes = substitutes_for(payloads(message))
        except Exception as error:  # Whatever it is: cloud-init goes on, and the unit has its turn later.
            LOG.warning("early cluster contextualization: %s", error)

        def substituted(data, filename, payload, headers):
            callback(data, filename, substitutes.get(payload, payload), headers)

        walk(message, substituted, data)

    walk_substituted.original = walk
    return walk_substituted


def payloads(message):
    """The decoded parts as cloud-init hands them to its handlers: text as str, all else as bytes. Before each its name."""
    leaves = (part for part in message.walk() if part.get_content_maintype() != "multipart")
    named = [(name_of(part, number), util.fully_decoded_payload(part)) for number, part in enumerate(leaves)]
    return [(name, payload) for name, payload in named if payload]


def name_of(part, number):
    """What the context calls a part, as far as it can be the name of a file, else what cloud-init calls it."""
    name = re.sub("[^A-Za-z0-9._-]", "_", os.path.basename(part.get_filename() or ""))[:64]
    return name if re.match("[A-Za-z0-9_]", name) else "part-%03d" % number


def substitutes_for(parts):
    """What to hand out in place of each part that the agent has changed."""
    if not parts:
        return {}
    scratch = tempfile.mkdtemp(prefix="cernvm-cluster-", dir=SCRATCH)
    try:
        names = unique([name for name, _ in parts])
        files = [os.path.join(scratch, name) for name in names]
        parts = [part for _, part in parts]
        for file, part in zip(files, parts):
            util.write_file(file, as_bytes(part), mode=0o600)
        # Run there, it names the parts in what it says, and not this directory.
        run([AGENT, "contextualize", "--early"] + names, scratch)
        # Where it fails it may still have substituted some of the values.
        contents = [read(file) for file in files]
        return dict((part, like(part, new)) for part, new in zip(parts, contents) if new != as_bytes(part))
    finally:
        shutil.rmtree(scratch)


def unique(names):
    """The names, with a number before each where two parts have one name."""
    if len(set(names)) == len(names):
        return names
    return ["%d-%s" % (number, name) for number, name in enumerate(names)]


def run(command, directory):
    # Its messages go where cloud-init's go, to the console and cloud-init-output.log, not straight to the journal.
    environment = dict((name, value) for name, value in os.environ.items() if name != "JOURNAL_STREAM")
    process = subprocess.Popen(command, env=environment, cwd=directory)
    # Python 2.7 waits without a timeout.
    timer = threading.Timer(TIMEOUT_S, process.kill)
    timer.start()
    try:
        process.wait()
    finally:
        timer.cancel()


def as_bytes(part):
    return part if isinstance(part, bytes) else part.encode("utf-8", ERRORS)


def like(part, content):
    return content if isinstance(part, bytes) else content.decode("utf-8", ERRORS)


# Python 2.7 has no surrogates for bytes that are no UTF-8; a part with such bytes is no text there.
ERRORS = "strict" if str is bytes else "surrogateescape"


def read(path):
    with open(path, "rb") as file:
        return file.read()
