"""What a broker has to do, seen by paho-mqtt.

Usage: drive_paho.py URL VERSION [CA]. It prints the name of each scenario that has come to its end, waits for the
broker to stop after the last one, and fails at the first that goes wrong.
"""

import queue
import sys
import time
from urllib.parse import urlsplit

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

# A broker that takes longer hangs.
GUARD = 20

URL = urlsplit(sys.argv[1])
VERSION = {"3.1": paho.MQTTv31, "3.1.1": paho.MQTTv311, "5": paho.MQTTv5}[sys.argv[2]]
CA = sys.argv[3] if len(sys.argv) > 3 else None
V5 = VERSION == paho.MQTTv5
# CONNACK says whether there is a session; not yet in 3.1.
TELLS_SESSION = VERSION != paho.MQTTv31


def properties(packet, **fields):
    made = Properties(getattr(PacketTypes, packet))
    for name, value in fields.items():
        setattr(made, name, value)
    return made


class Peer:
    """A client whose callbacks go into queues."""

    def __init__(self, id, clean=True, expiry=None, will=None, will_delay=0, manual_ack=False, **connect):
        web = URL.scheme in ("ws", "wss")
        arguments = {} if V5 else {"clean_session": clean}
        self.client = paho.Client(
            paho.CallbackAPIVersion.VERSION2,
            client_id=id,
            protocol=VERSION,
            transport="websockets" if web else "tcp",
            reconnect_on_failure=False,
            manual_ack=manual_ack,
            **arguments,
        )
        if web:
            self.client.ws_set_options(path="/mqtt")
        if URL.scheme in ("wss", "mqtts"):
            self.client.tls_set(CA)
        if will:
            topic, payload, qos, retain = will
            extra = {"properties": properties("WILLMESSAGE", WillDelayInterval=will_delay)} if V5 else {}
            self.client.will_set(topic, payload, qos, retain, **extra)
        self.messages, self.connacks, self.ends = queue.Queue(), queue.Queue(), queue.Queue()
        self.acks = queue.Queue()
        self.client.on_message = lambda client, data, message: self.messages.put(message)
        self.client.on_connect = lambda client, data, flags, reason, props: self.connacks.put((flags, reason, props))
        self.client.on_disconnect = lambda client, data, flags, reason, props: self.ends.put(flags)
        answered = lambda client, data, mid, reasons, props: self.acks.put((mid, reasons))
        self.client.on_subscribe = self.client.on_unsubscribe = answered
        self.client.on_publish = lambda client, data, mid, reason, props: self.acks.put((mid, [reason]))
        more = {}
        if V5:
            if expiry is not None:
                connect["SessionExpiryInterval"] = expiry
            more = {"clean_start": clean, "properties": properties("CONNECT", **connect)}
        self.client.connect(URL.hostname, URL.port, keepalive=60, **more)
        self.client.loop_start()
        flags, self.reason, self.properties = self.connacks.get(timeout=GUARD)
        self.session_present = flags.session_present

    def resumed(self, expected):
        """Tells whether the session is as expected, as far as the version says it."""
        return not TELLS_SESSION or self.session_present == expected

    def answer(self, mid):
        while True:
            found, reasons = self.acks.get(timeout=GUARD)
            if found == mid:
                return [reason.value for reason in reasons]

    def subscribe(self, filter, qos=2, identifier=None, **options):
        if V5:
            made = properties("SUBSCRIBE", **({"SubscriptionIdentifier": identifier} if identifier else {}))
            result, mid = self.client.subscribe(filter, options=SubscribeOptions(qos, **options), properties=made)
        else:
            result, mid = self.client.subscribe(filter, qos)
        assert result == paho.MQTT_ERR_SUCCESS, result
        return self.answer(mid)

    def unsubscribe(self, filter):
        result, mid = self.client.unsubscribe(filter)
        assert result == paho.MQTT_ERR_SUCCESS, result
        return self.answer(mid)

    def publish(self, topic, payload="", qos=1, retain=False, **fields):
        """Returns the reason of the acknowledgement."""
        extra = {"properties": properties("PUBLISH", **fields)} if V5 else {}
        info = self.client.publish(topic, payload, qos, retain, **extra)
        assert info.rc == paho.MQTT_ERR_SUCCESS, info.rc
        return self.answer(info.mid)[0]

    def next(self):
        return self.messages.get(timeout=GUARD)

    def payloads(self, count):
        return [self.next().payload.decode() for _ in range(count)]

    def silent(self):
        """Makes sure that no message is on its way: one that is sent now is the next."""
        topic = f"sentinel/{id(self)}"
        self.subscribe(topic, 0)
        self.publish(topic, "-", 0)
        message = self.next()
        assert message.topic == topic, (message.topic, message.payload)
        self.unsubscribe(topic)

    def close(self, **fields):
        extra = {"properties": properties("DISCONNECT", **fields)} if fields else {}
        self.client.disconnect(**extra)
        self.ends.get(timeout=GUARD)
        self.client.loop_stop()

    def told_to_leave(self):
        """Waits for the broker to end the connection, in 5.0 with DISCONNECT.

        paho overlooks the reason of one without properties.
        """
        flags = self.ends.get(timeout=GUARD)
        assert flags.is_disconnect_packet_from_server == V5

    def break_off(self):
        """Ends the connection without a word."""
        self.client.loop_stop()
        self.client._sock_close()


def messages_of_each_qos_and_size():
    publisher, subscriber = Peer("publisher"), Peer("subscriber")
    assert subscriber.subscribe("a/+") == [2]
    for payload in ("", "small", "x" * 600_000):
        for qos in (0, 1, 2):
            publisher.publish("a/b", payload, qos)
            message = subscriber.next()
            assert (message.topic, message.qos, message.retain) == ("a/b", qos, False)
            assert message.payload.decode() == payload
    many = [str(number) for number in range(500)]
    for number in many:
        publisher.client.publish("a/many", number, 1 + int(number) % 2)
    # QoS 2 leaves when it is released, and QoS 1 does not wait for it: each is in order of its own.
    got = [(message.qos, int(message.payload)) for message in (subscriber.next() for _ in many)]
    for qos in (1, 2):
        assert [number for found, number in got if found == qos] == list(range(qos - 1, 500, 2))
    publisher.close()
    subscriber.close()


def retained_messages():
    publisher = Peer("publisher")
    for qos in (0, 1, 2):
        publisher.publish(f"kept/{qos}", "kept", qos, retain=True)
    subscriber = Peer("subscriber")
    subscriber.subscribe("kept/#")
    got = sorted((m.topic, m.qos, m.retain, m.payload) for m in (subscriber.next() for _ in range(3)))
    assert got == [(f"kept/{qos}", qos, True, b"kept") for qos in (0, 1, 2)], got
    for qos in (0, 1, 2):
        publisher.publish(f"kept/{qos}", "", 2, retain=True)
        message = subscriber.next()
        assert (message.retain, message.payload) == (False, b"")
    subscriber.unsubscribe("kept/#")
    subscriber.subscribe("kept/#")
    subscriber.silent()
    publisher.close()
    subscriber.close()


def wills():
    watcher = Peer("watcher")
    watcher.subscribe("will/#")
    mortal = Peer("mortal", will=("will/polite", "gone", 1, False))
    mortal.close()
    watcher.silent()
    mortal = Peer("mortal", will=("will/broken", "gone", 1, True))
    mortal.break_off()
    message = watcher.next()
    assert (message.topic, message.payload, message.qos) == ("will/broken", b"gone", 1)
    late = Peer("late")
    late.subscribe("will/broken")
    assert late.next().retain
    late.publish("will/broken", "", 1, retain=True)
    late.close()
    watcher.close()


def sessions_with_offline_messages():
    lasting = {"clean": False, "expiry": 3600}
    first = Peer("sleeper", **lasting)
    assert first.resumed(False)
    first.subscribe("queue/#")
    first.close()
    publisher = Peer("publisher")
    for qos in (0, 1, 2):
        publisher.publish(f"queue/{qos}", "while away", qos)
    second = Peer("sleeper", **lasting)
    assert second.resumed(True)
    assert [(m.topic, m.qos) for m in (second.next(), second.next())] == [("queue/1", 1), ("queue/2", 2)]
    second.silent()
    second.close()
    third = Peer("sleeper", clean=True)
    assert third.resumed(False)
    third.close()
    fourth = Peer("sleeper", **lasting)
    assert fourth.resumed(False), "Clean Start has ended it"
    fourth.publish("queue/1", "nobody", 1)
    fourth.silent()
    fourth.close()
    Peer("sleeper", clean=True).close()
    publisher.close()


def what_was_not_acknowledged_comes_again():
    lasting = {"clean": False, "expiry": 3600, "manual_ack": True}
    first = Peer("forgetful", **lasting)
    first.subscribe("again")
    publisher = Peer("publisher")
    publisher.publish("again", "1", 1)
    message = first.next()
    assert not message.dup
    first.break_off()
    second = Peer("forgetful", **lasting)
    assert second.resumed(True)
    message = second.next()
    assert (message.payload, message.dup) == (b"1", True)
    second.client.ack(message.mid, message.qos)
    second.silent()
    second.close()
    Peer("forgetful", clean=True).close()
    publisher.close()


def shared_subscriptions():
    members = [Peer(f"member-{number}") for number in range(2)]
    for member in members:
        member.subscribe("$share/group/work/+")
    publisher = Peer("publisher")
    for number in range(10):
        publisher.publish(f"work/{number}", str(number), 1)
    got = [member.payloads(5) for member in members]
    assert sorted(got[0] + got[1]) == [str(number) for number in range(10)], got
    for member in members:
        member.silent()
        member.close()
    publisher.close()


def overlapping_subscriptions_and_dollar_topics():
    subscriber = Peer("subscriber")
    for filter, qos in (("over/#", 1), ("over/+", 2), ("#", 0), ("+/lap", 0)):
        subscriber.subscribe(filter, qos)
    subscriber.publish("over/lap", "once", 2)
    message = subscriber.next()
    assert (message.payload, message.qos) == (b"once", 2)
    subscriber.publish("$dollar/lap", "unseen", 1)
    subscriber.silent()
    subscriber.subscribe("$dollar/+")
    subscriber.publish("$dollar/lap", "seen", 1)
    assert subscriber.payloads(1) == ["seen"]
    subscriber.close()


def take_over():
    first = Peer("twin")
    second = Peer("twin")
    first.told_to_leave()
    second.silent()
    second.close()
    first.client.loop_stop()


def client_identifiers_that_are_empty():
    if VERSION == paho.MQTTv31:
        # paho refuses it itself there.
        return
    peer = Peer("")
    assert peer.reason.value == 0
    if V5:
        assert peer.properties.AssignedClientIdentifier
    peer.silent()
    peer.close()


def properties_travel():
    subscriber = Peer("subscriber")
    subscriber.subscribe("props", identifier=77)
    pairs = [("k", "1"), ("ä", "ö"), ("k", "1")]
    subscriber.publish(
        "props", "x", 1, ContentType="text/plain", ResponseTopic="re", CorrelationData=b"\0\xff",
        PayloadFormatIndicator=1, MessageExpiryInterval=100, UserProperty=pairs)
    found = subscriber.next().properties
    assert (found.ContentType, found.ResponseTopic, found.CorrelationData) == ("text/plain", "re", b"\0\xff")
    assert (found.PayloadFormatIndicator, found.UserProperty) == (1, pairs)
    assert 98 <= found.MessageExpiryInterval <= 100
    assert found.SubscriptionIdentifier == [77]
    subscriber.close()


def requests_and_responses():
    responder = Peer("responder")
    responder.subscribe("ask")
    requester = Peer("requester", RequestResponseInformation=1)
    topic = requester.properties.ResponseInformation + "/1"
    requester.subscribe(topic)
    requester.publish("ask", "?", 1, ResponseTopic=topic, CorrelationData=b"7")
    request = responder.next().properties
    responder.publish(request.ResponseTopic, "!", 1, CorrelationData=request.CorrelationData)
    response = requester.next()
    assert (response.payload, response.properties.CorrelationData) == (b"!", b"7")
    requester.close()
    responder.close()


def topic_aliases():
    peer = Peer("aliases")
    assert peer.properties.TopicAliasMaximum > 0
    peer.subscribe("alias/#")
    peer.publish("alias/one", "1", 1, TopicAlias=1)
    peer.publish("", "2", 1, TopicAlias=1)
    peer.publish("alias/two", "3", 1, TopicAlias=1)
    peer.publish("", "4", 2, TopicAlias=1)
    got = [(message.topic, message.payload) for message in (peer.next() for _ in range(4))]
    assert got == [("alias/one", b"1"), ("alias/one", b"2"), ("alias/two", b"3"), ("alias/two", b"4")], got
    peer.close()


def flow_control():
    slow = Peer("slow", manual_ack=True, ReceiveMaximum=2)
    slow.subscribe("flow")
    publisher = Peer("publisher")
    for number in range(6):
        publisher.publish("flow", str(number), 1)
    first = [slow.next(), slow.next()]
    # SUBACK comes behind whatever else is on its way; a message of QoS 0 would wait in line.
    slow.subscribe("flow/not")
    assert slow.messages.empty()
    for message in first:
        slow.client.ack(message.mid, 1)
    rest = []
    for _ in range(4):
        rest.append(slow.next())
        slow.client.ack(rest[-1].mid, 1)
    assert [m.payload for m in first + rest] == [str(number).encode() for number in range(6)]
    slow.close()
    publisher.close()


def packets_that_are_too_large_are_left_out():
    small = Peer("small", MaximumPacketSize=200)
    small.subscribe("size")
    publisher = Peer("publisher")
    publisher.publish("size", "x" * 500, 1)
    publisher.publish("size", "fits", 1)
    assert small.payloads(1) == ["fits"]
    small.close()
    publisher.close()


def subscription_options():
    peer = Peer("options")
    peer.subscribe("opt", noLocal=True)
    peer.publish("opt", "own", 1)
    peer.silent()
    peer.subscribe("opt", retainAsPublished=True)
    peer.publish("opt", "kept", 1, retain=True)
    assert peer.next().retain, "as published"
    peer.subscribe("opt", retainHandling=2)
    peer.subscribe("opt", retainHandling=1)
    peer.silent()
    peer.subscribe("opt", retainHandling=0)
    assert peer.next().retain
    peer.publish("opt", "", 1, retain=True)
    peer.close()


def reasons():
    peer = Peer("reasons")
    assert peer.publish("nobody/listens", "x", 1) == 0x10
    assert peer.unsubscribe("nothing") == [0x11]
    assert peer.subscribe("nothing", 1) == [1]
    assert peer.unsubscribe("nothing") == [0]
    peer.close()


def time_passes():
    watcher = Peer("watcher")
    watcher.subscribe("later/#")
    sleeper = Peer("sleeper", clean=False, expiry=3600)
    sleeper.subscribe("short", 1)
    sleeper.close()
    watcher.publish("short", "worthless", 1, MessageExpiryInterval=1)
    watcher.publish("short", "lasts", 1, MessageExpiryInterval=100)
    mortal = Peer("mortal", expiry=3600, will=("later/will", "gone", 1, False), will_delay=1)
    ending = Peer("ending", expiry=1, will=("later/session", "gone", 1, False), will_delay=100)
    begun = time.monotonic()
    mortal.break_off()
    ending.break_off()
    got = sorted(message.topic for message in (watcher.next(), watcher.next()))
    assert got == ["later/session", "later/will"], "the end of the session does not wait for the delay"
    assert time.monotonic() - begun >= 0.9
    sleeper = Peer("sleeper", clean=False, expiry=3600)
    message = sleeper.next()
    assert message.payload == b"lasts" and message.properties.MessageExpiryInterval < 100
    sleeper.close(SessionExpiryInterval=0)
    sleeper = Peer("sleeper", clean=False)
    assert sleeper.resumed(False), "DISCONNECT has ended it"
    sleeper.close()
    watcher.close()


def the_broker_stops():
    peer = Peer("last")
    print("stop", flush=True)
    peer.told_to_leave()
    peer.client.loop_stop()


EACH = [
    messages_of_each_qos_and_size, retained_messages, wills, sessions_with_offline_messages,
    what_was_not_acknowledged_comes_again, shared_subscriptions,
    overlapping_subscriptions_and_dollar_topics, take_over, client_identifiers_that_are_empty,
]
ONLY_5 = [
    properties_travel, requests_and_responses, topic_aliases, flow_control,
    packets_that_are_too_large_are_left_out, subscription_options, reasons, time_passes,
]
for scenario in EACH + (ONLY_5 if V5 else []) + [the_broker_stops]:
    scenario()
    print("done", scenario.__name__, flush=True)
