// What Swift cannot call of the C library: prctl(2) is variadic, and the other function is hidden from strict standards.

#pragma once

#include <spawn.h>
#include <sys/prctl.h>

extern int posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t *actions, int from);

/// Makes this process the parent of what its children leave behind, so that it can wait for that; 0, or -1 with errno.
static inline int muster_adopt_orphans(void) {
  return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

/// Has a process that is to be spawned close all descriptors from `from` on; 0, or an error number.
static inline int muster_close_from(posix_spawn_file_actions_t *actions, int from) {
  return posix_spawn_file_actions_addclosefrom_np(actions, from);
}
