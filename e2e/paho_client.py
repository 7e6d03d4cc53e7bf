"""A device on Python's paho. The first line of the input says who and where, further lines are messages to publish; what
happens is printed as lines of JSON. Ends with its connection."""
import json
import sys
import threading

import paho.mqtt.client as mqtt


def say(**event):
    print(json.dumps(event), flush=True)


who = json.loads(sys.stdin.readline())
version = mqtt.MQTTv5 if who["version"] == 5 else mqtt.MQTTv311
# Version 2 of the library wants to be told that the callbacks are those of version 1.
older = {"callback_api_version": mqtt.CallbackAPIVersion.VERSION1} if hasattr(mqtt, "CallbackAPIVersion") else {}
transport = "websockets" if who["over"] == "ws" else "tcp"
client = mqtt.Client(client_id=who.get("clientId") or "", protocol=version, transport=transport, **older)
client.username_pw_set(who["username"], who["password"])
if who["over"] == "ws":
    client.ws_set_options(path="/mqtt")
if who["over"] == "tls":
    client.tls_set(ca_certs=who["ca"])
if who.get("will"):
    client.will_set(who["will"]["topic"], who["will"]["payload"], qos=1)


def on_connect(_client, _data, _flags, code, _properties=None):
    code = getattr(code, "value", code)
    if code != 0:
        say(refused=code)
        client.disconnect()
    elif who["filters"]:
        client.subscribe([(it, mqtt.SubscribeOptions(qos=1)) if version == mqtt.MQTTv5 else (it, 1) for it in who["filters"]])
    else:
        say(subscribed=True)


def on_message(_client, _data, message):
    say(message={"topic": message.topic, "payload": message.payload.decode(), "retain": bool(message.retain)})


def publish_from_input():
    for line in sys.stdin:
        it = json.loads(line)
        client.publish(it["topic"], it["payload"], qos=it["qos"], retain=it["retain"])
    ended.set()


ended = threading.Event()
client.on_connect = on_connect
client.on_subscribe = lambda *_: say(subscribed=True)
client.on_message = on_message
client.on_publish = lambda *_: say(published=True)
client.on_disconnect = lambda *_: ended.set()
client.connect("localhost", who["port"], keepalive=30)
client.loop_start()
threading.Thread(target=publish_from_input, daemon=True).start()
ended.wait()
