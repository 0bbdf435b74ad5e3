"""What Nova has of all projects' servers, with the user-data that it would hand to them: a line of JSON each."""

import json
import urllib.request

KEYSTONE = "http://127.0.0.1:5000/v3"
NOVA = "http://127.0.0.1:8774/v2.1"


def ask(url, body=None, **headers):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers})
    return urllib.request.urlopen(request, timeout=30)


user = {"name": "admin", "password": "admin", "domain": {"name": "Default"}}
scope = {"project": {"name": "admin", "domain": {"name": "Default"}}}
identity = {"methods": ["password"], "password": {"user": user}}
login = ask(KEYSTONE + "/auth/tokens", {"auth": {"identity": identity, "scope": scope}})
token = login.headers["X-Subject-Token"]
# Since 2.3 an administrator is shown the user-data.
version = {"X-Auth-Token": token, "X-OpenStack-Nova-API-Version": "2.3"}
for server in json.load(ask(NOVA + "/servers/detail?all_tenants=1", **version))["servers"]:
    addresses = [entry["addr"] for network in server["addresses"].values() for entry in network]
    print(json.dumps({
        "id": server["id"],
        "name": server["name"],
        "status": server["status"],
        "address": addresses[0] if addresses else None,
        "user_data": server["OS-EXT-SRV-ATTR:user_data"],
    }))
