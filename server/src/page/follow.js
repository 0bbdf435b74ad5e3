// Follows one pin: keeps its cluster up to date, and opens what is sealed where the secret is known.

import { Cluster } from "./cluster.js";
import { isSealed, makeOpener } from "./seal.js";
import { ask, pathOf } from "./service.js";
import { watch } from "./watch.js";

// Between two looks at sealed reports, which events do not carry. In milliseconds.
const LOOK = 250;

// Calls `changed()` after each change, and `link(state)` as `watch` does.
export function follow(pin, { changed, link }) {
  const cluster = new Cluster(pin);
  let opener = null;
  // The version of the list of nodes that is known, and what is to be read of the next: "", "new" or "whole".
  let version = null;
  let wanted = "";
  let isLooking = false;
  let closed = false;

  const watching = watch(pin, {
    link,
    state(state) {
      cluster.takeState(state);
      // A node that went while nothing was heard is in no event.
      if (cluster.nodes.size) lookAtNodes(true);
      openKeys();
    },
    key(change) {
      cluster.takeKey(change);
      openKeys();
    },
    node(change) {
      if (change.change === "set" && !change.report) {
        // Until it is opened it is there, with what is known of it.
        cluster.setNode(change.id, Date.parse(change.reported), cluster.nodes.get(change.id)?.report ?? null);
        lookAtNodes(false);
      } else {
        cluster.takeNode(change);
      }
      changed();
    },
    counts({ waiting }) {
      cluster.waiting = waiting;
      changed();
    },
    gone(reason) {
      cluster.over = reason;
      changed();
    },
  });

  // The value of a key, in the clear where it can be opened.
  async function value(name) {
    const { value: text } = await ask("GET", pathOf(pin, `/keys/${name}`));
    return (await opener?.(name, text)) ?? text;
  }

  // The addresses of a sealed cluster, as far as they can be opened here.
  async function openKeys() {
    for (const [name, key] of cluster.keys) {
      if (opener && isSealed(key.value)) key.opened = (await opener(name, key.value)) ?? undefined;
    }
    if (!closed) changed();
  }

  // Reads the nodes; all of them, or those that have reported since.
  async function lookAtNodes(isWhole) {
    wanted = isWhole ? "whole" : wanted || "new";
    if (isLooking) return;
    isLooking = true;
    while (wanted && !closed) {
      await new Promise((resolve) => { setTimeout(resolve, LOOK); });
      const after = version && wanted === "new" ? `?after=${version}` : "";
      wanted = "";
      try {
        const list = await ask("GET", pathOf(pin, `/nodes${after}`));
        version = list.version;
        await takeList(list);
      } catch {
        // The service has gone, or the pin has: either is told by the events.
        version = null;
      }
      if (!closed) changed();
    }
    isLooking = false;
  }

  async function takeList({ whole, nodes }) {
    if (whole) {
      const there = new Set(nodes.map(({ id }) => id));
      for (const id of cluster.nodes.keys()) if (!there.has(id)) cluster.nodes.delete(id);
    }
    for (const { id, reported, report, sealed } of nodes) {
      const opened = report ?? JSON.parse((await opener?.(`node:${id}`, sealed)) ?? "null");
      cluster.setNode(id, Date.parse(reported), opened);
    }
  }

  return {
    cluster,
    value,
    // Opens with another secret from now on; says whether it opens the address, if there is one.
    async unlock(secret) {
      opener = await makeOpener(pin, secret);
      for (const key of cluster.keys.values()) delete key.opened;
      await openKeys();
      lookAtNodes(true);
      return cluster.clear("master_ip") !== "";
    },
    close() {
      closed = true;
      watching.close();
    },
  };
}
