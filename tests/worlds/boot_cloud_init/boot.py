"""What the real cloud-init leaves on the disk of a guest after its network stage.

Reads lines of base64 from standard input, each the user-data of a new instance, and writes for each a line of JSON: the
files of that guest in base64, by path. Runs within a root that has cloud-init (22.4 to 26.2). Nothing of the user-data
is run, and addresses are tried once.
"""

import base64
import json
import logging
import os
import sys
import tempfile

logging.disable(logging.CRITICAL)

from cloudinit import sources, stages, url_helper, user_data, util  # noqa: E402
from cloudinit.config import cc_write_files  # noqa: E402
from cloudinit.handlers import boot_hook  # noqa: E402
from cloudinit.settings import PER_ALWAYS  # noqa: E402

boot_hook.subp.subp = lambda *_, **__: ("", "")


def read_once(address, **_):
    if not address.startswith("/"):
        raise url_helper.UrlError(IOError("not tried"), url=address)
    return url_helper.read_file_or_url(address)


user_data.read_file_or_url = read_once


class Source(sources.DataSource):
    dsname = "Test"

    def __init__(self, data, paths):
        super().__init__({}, None, paths)
        self.userdata_raw = data
        self.metadata = {"instance-id": "iid-test"}

    def _get_data(self):
        return True

    def get_instance_id(self):
        return "iid-test"


class Init(stages.Init):
    def __init__(self, guest):
        super().__init__()
        self.guest = guest

    def read_cfg(self, extra_fns=None):
        paths = {"cloud_dir": self.guest + "/var/lib/cloud", "run_dir": self.guest + "/run/cloud-init"}
        self._cfg = {"system_info": {"distro": "debian", "paths": paths}}


def network_stage(guest, data):
    init = Init(guest)
    init.initialize()
    init.datasource = Source(data, init.paths)
    init.paths.datasource = init.datasource
    instance = init.paths.get_ipath()
    for name in ("handlers", "scripts", "sem", "data"):
        os.makedirs(os.path.join(instance, name))
    os.symlink(instance, init.paths.instance_link)
    init.update()
    init.consume_data(PER_ALWAYS)
    with open(os.path.join(instance, "cloud-config.txt")) as file:
        config = util.load_yaml(file.read()) or {}
    files = [dict(entry, path=guest + entry["path"]) for entry in config.get("write_files") or []]
    now = [entry for entry in files if not util.get_cfg_option_bool(entry, "defer", False)]
    cc_write_files.write_files("write-files", now, "root:root")


def files(guest):
    found = {}
    for directory, _, names in os.walk(guest):
        for name in names:
            path = os.path.join(directory, name)
            if not os.path.islink(path):
                with open(path, "rb") as file:
                    found[path[len(guest):]] = base64.b64encode(file.read()).decode()
    return found


for line in sys.stdin:
    with tempfile.TemporaryDirectory() as guest:
        try:
            network_stage(guest, base64.b64decode(line))
        except Exception:
            # The stage ends here, and what it has written stays.
            pass
        print(json.dumps(files(guest)), flush=True)
