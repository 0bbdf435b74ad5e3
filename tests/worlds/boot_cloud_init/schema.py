# Answers each line of base64, a cloud-config, with what cloud-init's own schema says of it: "" for nothing.
import base64, json, logging, sys

import yaml
from cloudinit.config.schema import SchemaValidationError, get_schema, validate_cloudconfig_schema

logging.disable(logging.CRITICAL)
schema = get_schema()
for line in sys.stdin:
    try:
        config = yaml.safe_load(base64.b64decode(line))
        validate_cloudconfig_schema(config or {}, schema, strict=True)
        print(json.dumps(""))
    except SchemaValidationError as error:
        print(json.dumps(str(error)))
    except yaml.YAMLError:
        # It names a line, which is another one below a section.
        print(json.dumps("no YAML"))
