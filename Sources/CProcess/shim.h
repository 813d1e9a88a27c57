// prctl(2) is variadic, which Swift cannot call.

#pragma once

#include <sys/prctl.h>

/// Makes this process the parent of what its children leave behind, so that it can wait for that; 0, or -1 with errno.
static inline int muster_adopt_orphans(void) {
  return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}
