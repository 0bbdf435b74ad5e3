# Sends notifications as OpenStack's services do: by oslo.messaging, with the settings that they have.
#
#     notifier.py URL DIRECTORY
#
# Each line of standard input is a command in JSON; its answer is a line on standard output.
import json
import os
import sys

import kombu
import oslo_messaging
from oslo_config import cfg

url, directory = sys.argv[1:]
notifiers = {}
for exchange in ("heat", "nova"):
    settings = os.path.join(directory, exchange + ".conf")
    with open(settings, "w") as file:
        file.write(f"[DEFAULT]\ncontrol_exchange = {exchange}\n")
        file.write(f"transport_url = rabbit://{url.removeprefix('amqp://')}\n")
        file.write("[oslo_messaging_notifications]\ndriver = messagingv2\ntopics = notifications\n")
    conf = cfg.ConfigOpts()
    conf([], project=exchange, default_config_files=[settings])
    transport = oslo_messaging.get_notification_transport(conf)
    notifiers[exchange] = oslo_messaging.Notifier(transport, publisher_id=exchange + ".test")

for line in sys.stdin:
    command = json.loads(line)
    answer = "done"
    if "body" in command:
        with kombu.Connection(url) as connection:
            with connection.channel() as channel:
                producer = kombu.Producer(channel)
                body, exchange = command["body"].encode(), command["exchange"]
                producer.publish(body, exchange=exchange, routing_key="notifications.info", content_type="application/json")
    elif "waiting" in command:
        with kombu.Connection(url) as connection:
            with connection.channel() as channel:
                answer = channel.queue_declare(command["waiting"], passive=True).message_count
    else:
        send = getattr(notifiers[command["exchange"]], command["priority"])
        for _ in range(command["times"]):
            # What services send beside: the token of the request.
            send({"auth_token": command["token"]}, command["event"], command["payload"])
    print(answer, flush=True)
