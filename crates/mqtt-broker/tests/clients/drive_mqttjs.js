// What a broker has to do, seen by MQTT.js.
//
// Usage: drive_mqttjs.js URL VERSION [CA]. It prints the name of each scenario that has come to its end, waits for the
// broker to stop after the last one, and fails at the first that goes wrong.
"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const mqtt = require("mqtt");

// A broker that takes longer hangs.
const GUARD = 20_000;

const [url, version, ca] = process.argv.slice(2);
const PROTOCOLS = {
    3.1: { protocolId: "MQIsdp", protocolVersion: 3 },
    "3.1.1": { protocolVersion: 4 },
    5: { protocolVersion: 5 },
};
const V5 = version === "5";

const within = (what, promise) => {
    let timer;
    const late = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(`nothing came: ${what}`)), GUARD);
    });
    return Promise.race([promise, late]).finally(() => clearTimeout(timer));
};

/** What comes, for whoever asks for the next one. */
class Queue {
    items = [];
    waiting = [];
    put(item) {
        const next = this.waiting.shift();
        if (next) next(item);
        else this.items.push(item);
    }
    next(what) {
        if (this.items.length > 0) return Promise.resolve(this.items.shift());
        return within(what, new Promise((resolve) => this.waiting.push(resolve)));
    }
}

let sentinels = 0;

class Peer {
    static async connect(clientId, { clean = true, expiry, will, willDelay, handle, connect = {} } = {}) {
        const peer = new Peer();
        peer.queue = new Queue();
        peer.disconnects = new Queue();
        peer.closes = new Queue();
        const properties = { ...connect };
        if (expiry !== undefined) properties.sessionExpiryInterval = expiry;
        if (will && V5 && willDelay) will.properties = { willDelayInterval: willDelay };
        const client = mqtt.connect(url, {
            ...PROTOCOLS[version],
            clientId,
            clean,
            will,
            ca: ca && fs.readFileSync(ca),
            reconnectPeriod: 0,
            keepalive: 60,
            customHandleAcks: handle,
            ...(V5 ? { properties } : {}),
        });
        peer.client = client;
        client.on("message", (topic, payload, packet) => peer.queue.put(packet));
        client.on("disconnect", (packet) => peer.disconnects.put(packet.reasonCode));
        client.on("close", () => peer.closes.put(true));
        const connected = new Promise((resolve, reject) => {
            client.once("connect", resolve);
            client.on("error", reject);
        });
        peer.connack = await within("CONNACK", connected);
        return peer;
    }

    /** Insists on a session, or on none; CONNACK of 3.1 does not tell it. */
    resumed(expected, why) {
        if (version !== "3.1") assert.equal(this.connack.sessionPresent, expected, why);
    }

    async subscribe(filter, options = {}) {
        const granted = await this.client.subscribeAsync(filter, { qos: 2, ...options });
        return granted.map((it) => it.qos);
    }

    unsubscribe(filter) {
        return this.client.unsubscribeAsync(filter);
    }

    async publish(topic, payload = "", options = {}) {
        await within("an answer", this.client.publishAsync(topic, payload, { qos: 1, ...options }));
    }

    async next() {
        return this.queue.next("a message");
    }

    async payloads(count) {
        const all = [];
        while (all.length < count) all.push((await this.next()).payload.toString());
        return all;
    }

    /** Makes sure that no message is on its way: one that is sent now is the next. */
    async silent() {
        const topic = `sentinel/${sentinels++}`;
        await this.subscribe(topic, { qos: 0 });
        await this.publish(topic, "-", { qos: 0 });
        assert.equal((await this.next()).topic, topic);
        await this.unsubscribe(topic);
    }

    async close(options) {
        await within("the end", this.client.endAsync(false, options));
    }

    /** Ends the connection without a word. */
    async breakOff() {
        this.client.on("error", () => {});
        this.client.stream.destroy();
        await this.closes.next("the end");
        await this.client.endAsync(true);
    }
}

const EACH = {
    async messagesOfEachQosAndSize() {
        const publisher = await Peer.connect("publisher");
        const subscriber = await Peer.connect("subscriber");
        assert.deepEqual(await subscriber.subscribe("a/+"), [2]);
        for (const payload of ["", "small", "x".repeat(600_000)]) {
            for (const qos of [0, 1, 2]) {
                await publisher.publish("a/b", payload, { qos });
                const message = await subscriber.next();
                assert.deepEqual([message.topic, message.qos, message.retain], ["a/b", qos, false]);
                assert.ok(message.payload.toString() === payload);
            }
        }
        const many = Array.from({ length: 500 }, (_, number) => String(number));
        await Promise.all(many.map((number) => publisher.publish("a/many", number)));
        assert.deepEqual(await subscriber.payloads(500), many);
        await publisher.close();
        await subscriber.close();
    },

    async retainedMessages() {
        const publisher = await Peer.connect("publisher");
        await publisher.publish("kept", "kept", { retain: true });
        const subscriber = await Peer.connect("subscriber");
        await subscriber.subscribe("kept");
        const kept = await subscriber.next();
        assert.deepEqual([kept.payload.toString(), kept.retain], ["kept", true]);
        await publisher.publish("kept", "", { retain: true, qos: 2 });
        assert.equal((await subscriber.next()).retain, false);
        await subscriber.unsubscribe("kept");
        await subscriber.subscribe("kept");
        await subscriber.silent();
        await publisher.close();
        await subscriber.close();
    },

    async wills() {
        const watcher = await Peer.connect("watcher");
        await watcher.subscribe("will/#");
        const polite = await Peer.connect("mortal", { will: { topic: "will/polite", payload: "gone", qos: 1 } });
        await polite.close();
        await watcher.silent();
        const broken = await Peer.connect("mortal", { will: { topic: "will/broken", payload: "gone", qos: 2 } });
        await broken.breakOff();
        const message = await watcher.next();
        assert.deepEqual([message.topic, message.payload.toString(), message.qos], ["will/broken", "gone", 2]);
        await watcher.close();
    },

    async sessionsWithOfflineMessages() {
        const lasting = { clean: false, expiry: 3600 };
        const first = await Peer.connect("sleeper", lasting);
        first.resumed(false);
        await first.subscribe("queue/#");
        await first.close();
        const publisher = await Peer.connect("publisher");
        for (const qos of [0, 1, 2]) await publisher.publish(`queue/${qos}`, "while away", { qos });
        const second = await Peer.connect("sleeper", lasting);
        second.resumed(true);
        assert.equal((await second.next()).topic, "queue/1");
        assert.equal((await second.next()).topic, "queue/2");
        await second.silent();
        await second.close();
        await (await Peer.connect("sleeper")).close();
        const third = await Peer.connect("sleeper", lasting);
        third.resumed(false, "Clean Start has ended it");
        await third.close();
        await (await Peer.connect("sleeper")).close();
        await publisher.close();
    },

    async sharedSubscriptions() {
        const members = [await Peer.connect("member-1"), await Peer.connect("member-2")];
        for (const member of members) await member.subscribe("$share/group/work/+");
        const publisher = await Peer.connect("publisher");
        for (let number = 0; number < 10; number++) await publisher.publish(`work/${number}`, String(number));
        const got = [await members[0].payloads(5), await members[1].payloads(5)];
        assert.deepEqual(got.flat().sort(), [..."0123456789"]);
        for (const member of members) {
            await member.silent();
            await member.close();
        }
        await publisher.close();
    },

    async takeOver() {
        const first = await Peer.connect("twin");
        const second = await Peer.connect("twin");
        if (V5) assert.equal(await first.disconnects.next("DISCONNECT"), 0x8e);
        await first.closes.next("the end");
        await first.client.endAsync(true);
        await second.silent();
        await second.close();
    },
};

const ONLY_5 = {
    async propertiesTravel() {
        const peer = await Peer.connect("properties");
        await peer.subscribe("props", { properties: { subscriptionIdentifier: 268_435_455 } });
        const sent = {
            contentType: "text/plain",
            responseTopic: "re",
            correlationData: Buffer.from([0, 255]),
            payloadFormatIndicator: true,
            messageExpiryInterval: 100,
            userProperties: { k: ["1", "2"], ä: "ö" },
        };
        await peer.publish("props", "x", { properties: sent });
        const { subscriptionIdentifier, ...found } = (await peer.next()).properties;
        assert.ok(found.messageExpiryInterval > 97 && found.messageExpiryInterval <= 100);
        found.messageExpiryInterval = 100;
        assert.deepEqual({ ...found, userProperties: { ...found.userProperties } }, sent);
        assert.equal(subscriptionIdentifier, 268_435_455);
        await peer.close();
    },

    async requestsAndResponses() {
        const responder = await Peer.connect("responder");
        await responder.subscribe("ask");
        const requester = await Peer.connect("requester", { connect: { requestResponseInformation: true } });
        const responseTopic = `${requester.connack.properties.responseInformation}/1`;
        await requester.subscribe(responseTopic);
        const correlationData = Buffer.from("7");
        await requester.publish("ask", "?", { properties: { responseTopic, correlationData } });
        const request = (await responder.next()).properties;
        const properties = { correlationData: request.correlationData };
        await responder.publish(request.responseTopic, "!", { properties });
        const response = await requester.next();
        assert.equal(response.payload.toString(), "!");
        assert.deepEqual(response.properties.correlationData, correlationData);
        await requester.close();
        await responder.close();
    },

    async topicAliases() {
        const peer = await Peer.connect("aliases");
        assert.ok(peer.connack.properties.topicAliasMaximum > 0);
        await peer.subscribe("alias/#");
        for (const [topic, payload] of [["alias/one", "1"], ["", "2"], ["alias/two", "3"], ["", "4"]]) {
            await peer.publish(topic, payload, { properties: { topicAlias: 1 } });
        }
        const topics = [];
        while (topics.length < 4) topics.push((await peer.next()).topic);
        assert.deepEqual(topics, ["alias/one", "alias/one", "alias/two", "alias/two"]);
        await peer.close();
    },

    async subscriptionOptions() {
        const peer = await Peer.connect("options");
        await peer.subscribe("opt", { nl: true });
        await peer.publish("opt", "own");
        await peer.silent();
        await peer.subscribe("opt", { rap: true });
        await peer.publish("opt", "kept", { retain: true });
        assert.equal((await peer.next()).retain, true);
        await peer.subscribe("opt", { rh: 2 });
        await peer.silent();
        await peer.publish("opt", "", { retain: true });
        await peer.close();
    },

    async reasons() {
        const peer = await Peer.connect("reasons");
        const answers = new Queue();
        peer.client.on("packetreceive", (packet) => answers.put([packet.cmd, packet.reasonCode]));
        await peer.publish("nobody/listens", "x");
        assert.deepEqual(await answers.next("PUBACK"), ["puback", 0x10]);
        await peer.close();
        const lasting = await Peer.connect("lasting", { clean: false, expiry: 3600 });
        await lasting.close({ properties: { sessionExpiryInterval: 0 } });
        const again = await Peer.connect("lasting", { clean: false });
        again.resumed(false, "DISCONNECT has ended it");
        await again.close();
    },
};

async function theBrokerStops() {
    const peer = await Peer.connect("last");
    peer.client.on("error", () => {});
    console.log("stop");
    if (V5) assert.equal(await peer.disconnects.next("DISCONNECT"), 0x8b);
    await peer.closes.next("the end");
    await peer.client.endAsync(true);
}

async function main() {
    const scenarios = { ...EACH, ...(V5 ? ONLY_5 : {}), theBrokerStops };
    for (const [name, scenario] of Object.entries(scenarios)) {
        await scenario();
        console.log("done", name);
    }
}

main().then(
    () => process.exit(0),
    (error) => {
        console.error(error);
        process.exit(1);
    },
);
