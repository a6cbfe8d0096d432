#!/bin/bash
# guest.sh: the nodes in a virtual machine that up.sh boots, and a way in (cmd/far).
. "$(dirname "$0")/lib.sh"
"$kit/up.sh"
exec "$bin/far" serve $far
