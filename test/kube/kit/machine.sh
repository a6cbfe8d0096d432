#!/bin/bash
# machine.sh COMMAND...: runs a command on the machine that holds the nodes: this one, or
# the virtual one (KUBE_KERNEL).
. "$(dirname "$0")/lib.sh"
[ $# -gt 0 ] || fail "usage: machine.sh COMMAND..."
on_machine "$@"
