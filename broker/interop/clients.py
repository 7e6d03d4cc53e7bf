#!/usr/bin/env python3
"""Everyday clients against the broker: Paho (python3-paho-mqtt) and mosquitto_pub/_sub, MQTT 3.1.1 and 5.

    clients.py HOST PORT USER [--other USER] [--websocket PORT]

Each kind of client publishes to each other kind at QoS 0 to 2; then retained messages, wills, sessions that outlive a
connection, shared subscriptions and properties of MQTT 5. With --other, a client of another tenant is subscribed to
everything it can name all the while, and is to hear nothing. Passwords come by MQTT_PASSWORD and MQTT_OTHER_PASSWORD.

Nothing is timed: what is to arrive is awaited for half a minute, and that nothing arrives is told by a later message
that does. Ends with 1 when a check failed; runs in less than half a minute.
"""
import argparse
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
import uuid

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

PATIENCE = 30  # seconds
VERSIONS = {"3.1.1": paho.MQTTv311, "5": paho.MQTTv5}
KINDS = [(tool, version) for tool in ("paho", "mosquitto") for version in VERSIONS]
RUN = uuid.uuid4().hex[:8]


class Account:
    def __init__(self, options, username, password):
        self.host, self.port, self.username, self.password = options.host, options.port, username, password
        self.websocket = options.websocket


class Inbox:
    """Messages as (topic, payload, qos, retain), from whatever thread."""

    def __init__(self):
        self.messages, self.changed = [], threading.Condition()

    def add(self, *message):
        with self.changed:
            self.messages.append(message)
            self.changed.notify_all()

    def wait(self, predicate, what):
        with self.changed:
            if not self.changed.wait_for(lambda: predicate(self.messages), PATIENCE):
                raise AssertionError(f"{what} did not come; here is: {self.messages[-8:]}")
            return list(self.messages)

    def until(self, topic, payload):
        """All messages up to and with this one, which serves as the end mark."""
        def arrived(messages):
            return any(m[:2] == (topic, payload) for m in messages)
        return self.wait(arrived, f"{payload!r} on {topic}")


def new_client(client_id, version, fresh, transport):
    """A paho client in the ways of version 1 and 2 of the library. `fresh` is the clean session of 3.1.1."""
    choose = {} if version == "5" else {"clean_session": fresh}
    if hasattr(paho, "CallbackAPIVersion"):
        choose["callback_api_version"] = paho.CallbackAPIVersion.VERSION2
    return paho.Client(client_id=client_id, protocol=VERSIONS[version], transport=transport, **choose)


class PahoClient:
    """Connected when it is made. `session` keeps what is subscribed after the connection; `will` is (topic, payload)."""

    def __init__(self, account, version, *, client_id=None, session=False, will=None, websocket=False):
        self.version, self.inbox, self.present = version, Inbox(), None
        self.connected, self.subscribed = threading.Event(), threading.Event()
        transport = "websockets" if websocket else "tcp"
        self.client = new_client(client_id or f"c-{uuid.uuid4().hex}", version, not session, transport)
        self.client.username_pw_set(account.username, account.password)
        self.client.on_connect = self.on_connect
        self.client.on_subscribe = lambda *_: self.subscribed.set()
        self.client.on_message = lambda _c, _u, m: self.inbox.add(m.topic, m.payload.decode(), m.qos, int(m.retain), m)
        if will:
            self.client.will_set(will[0], will[1], qos=1)
        choose = {}
        if version == "5":
            choose["clean_start"] = not session
            choose["properties"] = Properties(PacketTypes.CONNECT)
            choose["properties"].SessionExpiryInterval = 300 if session else 0
        self.client.connect(account.host, account.websocket if websocket else account.port, 60, **choose)
        self.client.loop_start()
        if not self.connected.wait(PATIENCE) or self.refusal:
            self.client.loop_stop()
            raise AssertionError(f"not connected: {self.refusal or 'no CONNACK'}")

    refusal = None

    def on_connect(self, _client, _userdata, flags, code, _properties=None):
        failed = code.is_failure if hasattr(code, "is_failure") else code != 0
        if failed or getattr(code, "value", 0) >= 0x80:
            self.refusal = str(code)
        self.present = bool(flags["session present"] if isinstance(flags, dict) else flags.session_present)
        self.connected.set()

    def subscribe(self, topic, qos=2):
        self.subscribed.clear()
        self.client.subscribe(topic, qos)
        if not self.subscribed.wait(PATIENCE):
            raise AssertionError(f"no SUBACK for {topic}")
        return self

    def publish(self, topic, payload, qos=0, retain=False, properties=None):
        choose = {"properties": properties} if properties else {}
        sent = self.client.publish(topic, payload, qos, retain, **choose)
        deadline = time.monotonic() + PATIENCE
        while not sent.is_published():
            if time.monotonic() > deadline:
                raise AssertionError(f"no acknowledgement for {topic}")
            time.sleep(0.01)

    def vanish(self):
        """Away without DISCONNECT."""
        self.client.on_disconnect = None
        self.client._sock_close()  # pylint: disable=protected-access
        self.client.loop_stop()

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


def mosquitto(program, account, version, *arguments):
    flag = {"3.1": "mqttv31", "3.1.1": "mqttv311", "5": "mqttv5"}[version]
    return ["stdbuf", "-oL", program, "-h", account.host, "-p", str(account.port), "-u", account.username,
            "-P", account.password, "-V", flag, *arguments]


class MosquittoSub:
    """mosquitto_sub, subscribed when it is made."""

    def __init__(self, account, version, topic, *arguments):
        self.inbox, self.ready = Inbox(), threading.Event()
        command = mosquitto("mosquitto_sub", account, version, "-d", "-q", "2", "-t", topic,
                            "-F", "MSG %q %r %t %p\\n", *arguments)
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True)
        threading.Thread(target=self.read, daemon=True).start()
        if not self.ready.wait(PATIENCE):
            raise AssertionError(f"mosquitto_sub has no SUBACK for {topic}")

    def read(self):
        for line in self.process.stdout:
            if "received SUBACK" in line:
                self.ready.set()
            if line.startswith("MSG "):
                qos, retain, topic, payload = line.rstrip("\n").split(" ", 4)[1:]
                self.inbox.add(topic, payload, int(qos), int(retain))

    def close(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.wait(PATIENCE)


def subscriber(account, kind, topic):
    tool, version = kind
    if tool == "mosquitto":
        return MosquittoSub(account, version, topic)
    return PahoClient(account, version).subscribe(topic)


def publish(account, kind, topic, payload, qos=0, retain=False):
    tool, version = kind
    if tool == "mosquitto":
        more = ["-r"] if retain else []
        more += ["-m", payload] if payload else ["-n"]
        subprocess.run(mosquitto("mosquitto_pub", account, version, "-t", topic, "-q", str(qos), *more),
                       check=True, timeout=PATIENCE, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        return
    client = PahoClient(account, version)
    client.publish(topic, payload or None, qos, retain)
    client.close()


def check(condition, what):
    if not condition:
        raise AssertionError(what)


def every_pair(account):
    """Each kind of publisher to each kind of subscriber, at each QoS: once, at that QoS."""
    root = f"{RUN}/pairs"
    subscribers = {kind: subscriber(account, kind, f"{root}/#") for kind in KINDS}
    sent = {}
    for kind, qos in itertools.product(KINDS, (0, 1, 2)):
        topic, payload = f"{root}/{kind[0]}/{kind[1]}/{qos}", f"from {kind[0]} {kind[1]} at {qos}"
        publish(account, kind, topic, payload, qos)
        sent[topic] = (payload, qos)
    for kind, client in subscribers.items():
        client.inbox.wait(lambda messages: len({m[0] for m in messages}) == len(sent), f"all messages to {kind}")
        heard = sorted(m[:4] for m in client.inbox.messages)
        wanted = sorted((topic, payload, qos, 0) for topic, (payload, qos) in sent.items())
        check(heard == wanted, f"{kind} heard {heard}, wanted {wanted}")
        client.close()


def retained(account):
    """Seen as retained by who comes later, by who is there as a new message, and gone when it is cleared."""
    for writer in KINDS:
        root = f"{RUN}/retained/{writer[0]}/{writer[1]}"
        there = subscriber(account, writer, f"{root}/#")
        publish(account, writer, f"{root}/kept", "kept", 1, retain=True)
        publish(account, writer, f"{root}/gone", "gone", 1, retain=True)
        publish(account, writer, f"{root}/gone", "", 1, retain=True)
        publish(account, writer, f"{root}/end", "end", 1)
        live = there.inbox.until(f"{root}/end", "end")
        check(all(m[3] == 0 for m in live), f"a live message is marked as retained: {live}")
        there.close()
        for reader in KINDS:
            late = subscriber(account, reader, f"{root}/#")
            late.inbox.until(f"{root}/kept", "kept")
            publish(account, writer, f"{root}/end", "end", 1)
            heard = [m[:4] for m in late.inbox.until(f"{root}/end", "end")]
            wanted = [(f"{root}/kept", "kept", 1, 1), (f"{root}/end", "end", 1, 0)]
            check(heard == wanted, f"{reader} heard {heard}, wanted {wanted}")
            late.close()
        publish(account, writer, f"{root}/kept", "", 1, retain=True)


def wills(account):
    """Sent when a client vanishes, not when it says goodbye."""
    for kind in KINDS:
        topic = f"{RUN}/will/{kind[0]}/{kind[1]}"
        watcher = PahoClient(account, "5").subscribe(f"{topic}/#")
        if kind[0] == "paho":
            PahoClient(account, kind[1], will=(f"{topic}/polite", "will")).close()
            PahoClient(account, kind[1], will=(f"{topic}/gone", "will")).vanish()
        else:
            # -E: mosquitto_sub says goodbye as soon as it is subscribed.
            polite = MosquittoSub(account, kind[1], f"{topic}/none", "-E", "--will-topic", f"{topic}/polite",
                                  "--will-payload", "will")
            check(polite.process.wait(PATIENCE) == 0, "mosquitto_sub -E failed")
            MosquittoSub(account, kind[1], f"{topic}/none", "--will-topic", f"{topic}/gone",
                         "--will-payload", "will").close(signal.SIGKILL)
        heard = watcher.inbox.until(f"{topic}/gone", "will")
        check(len(heard) == 1, f"wills of {kind}: {heard}")
        watcher.close()


def sessions(account):
    """What is published while a client is away waits for it, at QoS 1 and 2, once; and a fresh start has nothing."""
    for kind in KINDS:
        topic, name = f"{RUN}/session/{kind[0]}/{kind[1]}", f"s-{RUN}-{kind[1].replace('.', '')}-{kind[0]}"
        if kind[0] == "paho":
            first = PahoClient(account, kind[1], client_id=name, session=True)
            check(first.present is False, "a new session was present already")
            first.subscribe(f"{topic}/#").close()
        else:
            keep = ["-c", "-i", name] + (["-x", "300"] if kind[1] == "5" else [])
            MosquittoSub(account, kind[1], f"{topic}/#", *keep, "-E").process.wait(PATIENCE)
        for qos in (1, 2):
            publish(account, kind, f"{topic}/{qos}", f"while away {qos}", qos)
        if kind[0] == "paho":
            back = PahoClient(account, kind[1], client_id=name, session=True)
            check(back.present is True, "the session was not present")
        else:
            back = MosquittoSub(account, kind[1], f"{topic}/#", *keep)
        publish(account, kind, f"{topic}/end", "end", 1)
        heard = back.inbox.wait(lambda messages, t=topic: {f"{t}/1", f"{t}/2", f"{t}/end"} <= {m[0] for m in messages},
                                f"what waited for {kind}")
        check(len(heard) == 3, f"{kind} heard {heard}")
        back.close()
        fresh = PahoClient(account, kind[1], client_id=name)
        check(fresh.present is False, "a fresh start found the old session")
        fresh.close()


def shared(account):
    """Of a shared subscription, each message goes to one member."""
    topic, total = f"{RUN}/shared", 40
    members = [PahoClient(account, version).subscribe(f"$share/{RUN}/{topic}", 1) for version in VERSIONS]
    sender = PahoClient(account, "5")
    for number in range(total):
        sender.publish(topic, str(number), 1)
    deadline = time.monotonic() + PATIENCE
    while sum(len(m.inbox.messages) for m in members) < total and time.monotonic() < deadline:
        time.sleep(0.05)
    for member in members:  # an end mark for each, by a subscription of its own
        member.subscribe(f"{topic}/end", 1)
    sender.publish(f"{topic}/end", "end", 1)
    parts = [[m[1] for m in member.inbox.until(f"{topic}/end", "end") if m[0] == topic] for member in members]
    check(sorted(sum(parts, [])) == sorted(map(str, range(total))), f"shares: {parts}")
    check(all(parts), f"one member got everything: {[len(p) for p in parts]}")
    for client in (*members, sender):
        client.close()


def properties_of_5(account):
    """Properties of a PUBLISH reach a client of MQTT 5 unchanged, and one of 3.1.1 gets the message without them."""
    topic = f"{RUN}/properties"
    new, old = PahoClient(account, "5").subscribe(topic), PahoClient(account, "3.1.1").subscribe(topic)
    given = Properties(PacketTypes.PUBLISH)
    given.UserProperty = [("a", "1"), ("a", "2"), ("ü", "日本")]
    given.ResponseTopic, given.CorrelationData = f"{topic}/answer", b"\x00\xff"
    given.ContentType, given.PayloadFormatIndicator = "text/plain", 1
    new.publish(topic, "hello", 1, properties=given)
    got = new.inbox.until(topic, "hello")[0][4].properties
    old.inbox.until(topic, "hello")
    for name in ("UserProperty", "ResponseTopic", "CorrelationData", "ContentType", "PayloadFormatIndicator"):
        check(getattr(got, name, None) == getattr(given, name), f"{name} is {getattr(got, name, None)}")
    new.close()
    old.close()


def over_websocket(account):
    """Paho over WebSocket and TCP see each other."""
    for version in VERSIONS:
        topic = f"{RUN}/websocket/{version}"
        web, plain = PahoClient(account, version, websocket=True).subscribe(topic), PahoClient(account, version)
        plain.subscribe(f"{topic}/back")
        plain.publish(topic, "x" * 200_000, 1)
        web.inbox.until(topic, "x" * 200_000)
        web.publish(f"{topic}/back", "back", 2)
        plain.inbox.until(f"{topic}/back", "back")
        web.close()
        plain.close()


def refused(account):
    """A wrong password is refused, and the client is told that it was; MQTT 3.1 as well."""
    wrong = Account(account, account.username, account.password + "x")
    for version in VERSIONS:
        done = subprocess.run(mosquitto("mosquitto_pub", wrong, version, "-t", "x", "-m", "x"), timeout=PATIENCE,
                              check=False, capture_output=True, text=True)
        said = (done.stderr + done.stdout).lower()
        check(done.returncode != 0 and ("user name or password" in said or "authori" in said),
              f"{version}: {done.returncode} {said}")
    done = subprocess.run(mosquitto("mosquitto_pub", account, "3.1", "-t", "x", "-m", "x"), timeout=PATIENCE,
                          check=False, capture_output=True, text=True)
    said = (done.stderr + done.stdout).lower()
    check(done.returncode != 0 and "protocol version" in said, f"3.1: {done.returncode} {said}")


CHECKS = [every_pair, retained, wills, sessions, shared, properties_of_5, refused]
NAMED_BY_A_STRANGER = ["#", "+/#", "/#", "$share/all/#", f"{RUN}/#", f"$share/all/{RUN}/#", "ff/#", "$SYS/#"]


def overheard(account):
    """A client of another tenant with every subscription that it can think of. Filters may be refused."""
    stranger = PahoClient(account, "5")
    for topic in NAMED_BY_A_STRANGER:
        stranger.subscribe(topic)
    return stranger


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("user")
    parser.add_argument("--other", help="user of another tenant")
    parser.add_argument("--websocket", type=int, help="port for MQTT over WebSocket")
    options = parser.parse_args()
    account = Account(options, options.user, os.environ["MQTT_PASSWORD"])
    stranger = None
    if options.other:
        stranger = overheard(Account(options, options.other, os.environ["MQTT_OTHER_PASSWORD"]))
    failed = 0
    for part in CHECKS + ([over_websocket] if options.websocket else []):
        begun = time.monotonic()
        try:
            part(account)
            verdict = "ok"
        except (AssertionError, OSError, subprocess.SubprocessError) as trouble:
            failed, verdict = 1, f"FAILED: {trouble}"
        print(f"{part.__name__:16} {time.monotonic() - begun:5.1f} s  {verdict}", flush=True)
    if stranger:
        stranger.publish("stranger", "the stranger itself", 1)
        heard = [m[:2] for m in stranger.inbox.until("stranger", "the stranger itself") if m[0] != "stranger"]
        print(f"{'another tenant':16}          {'heard nothing' if not heard else f'FAILED: heard {heard[:5]}'}")
        failed |= bool(heard)
        stranger.close()
    sys.exit(failed)


if __name__ == "__main__":
    main()
