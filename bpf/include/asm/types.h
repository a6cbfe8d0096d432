/* SPDX-License-Identifier: GPL-2.0-only */
/* Debian keeps asm/types.h in a folder of each architecture; BPF has the generic one. */
#include <asm-generic/types.h>
