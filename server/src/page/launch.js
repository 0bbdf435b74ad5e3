// The commands that launch a cluster, with the files that the page downloads.

import { fileOf } from "./contexts.js";
import { $, copyButton } from "./view.js";

const MASTER = fileOf("master");
const SLAVE = fileOf("slave");

// An instance-id of its own for each VM: without one all of them are the same node.
const metaData = (name) => `printf 'instance-id: %s\\nlocal-hostname: %s\\n' ${name} ${name} >${name}-meta`;
const slaves = (count, lines) => `for n in $(seq ${count}); do\n${lines.map((line) => `  ${line}\n`).join("")}done`;

const TOOLS = {
  openstack(count) {
    const create = "openstack server create --image IMAGE --flavor FLAVOR --network NETWORK --key-name KEY";
    return `${create} \\\n  --user-data ${MASTER} master\n${create} \\\n  --user-data ${SLAVE} --min ${count} --max ${count} slave`;
  },
  libvirt(count) {
    const vm = (name, context) => [
      metaData(name),
      `virt-install --name ${name} --memory 2048 --vcpus 2 --osinfo detect=on,require=off --import \\`,
      `  --disk size=10,backing_store=$PWD/IMAGE.qcow2 --cloud-init user-data=${context},meta-data=${name}-meta \\`,
      "  --noautoconsole",
    ];
    return `${vm("master", MASTER).join("\n")}\n${slaves(count, vm("slave$n", SLAVE))}`;
  },
  qemu(count) {
    const vm = (name, context) => [
      metaData(name),
      `cloud-localds ${name}-seed.img ${context} ${name}-meta`,
      `qemu-img create -q -f qcow2 -F qcow2 -b IMAGE.qcow2 ${name}.qcow2`,
      "qemu-system-x86_64 -enable-kvm -m 2048 -display none -daemonize -nic bridge,br=virbr0,model=virtio,mac=MAC \\",
      `  -drive file=${name}.qcow2,if=virtio -drive file=${name}-seed.img,if=virtio,format=raw`,
    ];
    const withMac = (lines, mac) => lines.map((line) => line.replace("MAC", mac));
    const own = withMac(vm("slave$n", SLAVE), "52:54:00:c1:00:$(printf %02x $n)");
    return `${withMac(vm("master", MASTER), "52:54:00:c1:00:00").join("\n")}\n${slaves(count, own)}`;
  },
};

export function commands(tool, count) { return TOOLS[tool](count); }

function draw() {
  const tool = document.querySelector("input[name=tool]:checked").value;
  const count = Math.min(Math.max(1, Math.trunc(Number($("slaves").value)) || 1), Number($("slaves").max));
  $("commands").textContent = commands(tool, count);
}

for (const input of document.querySelectorAll("input[name=tool], #slaves")) input.addEventListener("input", draw);
copyButton($("copy-commands"), () => $("commands").textContent);
draw();
