"""Early mode: substitutes the placeholders before cloud-init looks at the parts of its user-data.

cernvm-cluster-contextualization.service comes after cloud-init's network stage, so what that stage has acted upon by
then (bootcmd, boothooks, part-handlers, users, and every placeholder that YAML took for a comment) it cannot reach.
This part-handler can. It waits inside the network stage, which holds up sshd and, on Debian, all of sysinit, so it does
nothing unless the ucernvm section says

    cvm_cluster_early=yes

The unit stays as the safety net: where this fails, cloud-init goes on with the parts as they are.

The one thing that it relies on inside cloud-init is that `stages.py` calls `handlers.walk(message, callback, data)`
after every handler has had its "__begin__"; so it is from 22.4 to 26.2. Changing the message itself would not be
enough, since with a launch-index cloud-init walks over a copy.
"""

import logging
import os
import re
import subprocess
import tempfile

from cloudinit import handlers, util

LOG = logging.getLogger(__name__)

AGENT = "/usr/bin/cernvm-cluster-agent"
# The agent's own deadline is at most 3600 s; this is for an agent that hangs.
TIMEOUT_S = 3900
# On tmpfs, readable by root only: the parts hold secrets.
SCRATCH = "/run"

OPTED_IN = re.compile(rb"^[ \t]*#?[ \t]*cvm_cluster_early[ \t]*=[ \t]*(yes|on|true|1)[ \t\r]*$", re.I | re.M)
PLACEHOLDER = re.compile(rb"###[A-Z][A-Z0-9_]*_PLACEHOLDER###")

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
    """The decoded parts as cloud-init hands them to its handlers: text as str, all else as bytes."""
    leaves = (part for part in message.walk() if part.get_content_maintype() != "multipart")
    return [payload for payload in map(util.fully_decoded_payload, leaves) if payload]


def substitutes_for(parts):
    """What to hand out in place of each part that has a placeholder."""
    if not any(OPTED_IN.search(as_bytes(part)) for part in parts):
        return {}
    wanting = [part for part in parts if PLACEHOLDER.search(as_bytes(part))]
    if not wanting:
        return {}
    if not has_network():
        LOG.warning("early cluster contextualization: there is no network yet (dsmode=local?)")
        return {}
    with tempfile.TemporaryDirectory(prefix="cernvm-cluster-", dir=SCRATCH) as scratch:
        files = [os.path.join(scratch, str(number)) for number in range(len(wanting))]
        for file, part in zip(files, wanting):
            util.write_file(file, as_bytes(part), mode=0o600)
        # Its messages go where cloud-init's go, to the console and cloud-init-output.log, not straight to the journal.
        # Where it fails it may still have substituted some of the values.
        environment = {name: value for name, value in os.environ.items() if name != "JOURNAL_STREAM"}
        command = [AGENT, "contextualize", "--cloud-init", *files]
        subprocess.run(command, env=environment, timeout=TIMEOUT_S, check=False)
        return {part: like(part, read(file)) for file, part in zip(files, wanting)}


def has_network():
    """Whether there is a route, or a global IPv6 address: in the local stage there is neither."""
    routes = read("/proc/net/route").splitlines()[1:]
    addresses = read("/proc/net/if_inet6").splitlines() if os.path.exists("/proc/net/if_inet6") else []
    return bool(routes) or any(address.split()[3] == b"00" for address in addresses)


def as_bytes(part):
    return part if isinstance(part, bytes) else part.encode("utf-8", "surrogateescape")


def like(part, content):
    return content if isinstance(part, bytes) else content.decode("utf-8", "surrogateescape")


def read(path):
    with open(path, "rb") as file:
        return file.read()
