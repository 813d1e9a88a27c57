// glibc names the attributes of sched_setattr(2) only from 2.41 on, and syscall(2) is variadic, which Swift cannot call.

#pragma once

#include <linux/sched.h>
#include <linux/sched/types.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/// Asks the scheduler for turns of `slice_ns` for the calling thread, at `nice`; 0, or -1 with errno.
static inline long muster_set_slice(int nice, unsigned long long slice_ns) {
  struct sched_attr attributes;
  memset(&attributes, 0, sizeof attributes);
  attributes.size = sizeof attributes;
  attributes.sched_policy = 0;
  attributes.sched_nice = nice;
  attributes.sched_runtime = slice_ns;
  return syscall(SYS_sched_setattr, 0, &attributes, 0);
}
