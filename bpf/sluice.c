//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only
//
// sluice.c puts all programs into one object, so that they share one set of maps. Each
// of them says in its own file what it does.

#include "sock_create.c"
#include "connect4.c"
#include "connect6.c"
#include "gate4.c"
#include "gate6.c"
#include "sockops.c"
#include "accept.c"
#include "sk_lookup.c"
#include "getpeername4.c"
#include "getpeername6.c"
#include "sendmsg4.c"
#include "sendmsg6.c"
#include "bind4.c"
#include "bind6.c"
#include "egress.c"
#include "veth.c"
#include "unix.c"
#include "unix_guard.c"
#include "born.c"

char LICENSE[] SEC("license") = "GPL";

/* Types that only package redirect would name otherwise. */
const enum counter *used_counter __attribute__((unused));
const struct destination *used_destination __attribute__((unused));
