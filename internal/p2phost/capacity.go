package p2phost

import (
	"io/fs"
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/pbnjay/memory"
)

// fallbackMemory is assumed where the machine does not tell its size.
const fallbackMemory = 1 << 30

// availableMemory is the least of the machine's memory, the limits of the
// cgroups that the process is in, and GOMEMLIMIT, in bytes.
func availableMemory() int64 {
	total := int64(min(memory.TotalMemory(), math.MaxInt64))
	if total == 0 {
		total = fallbackMemory
	}
	return min(total, cgroupMemory(os.DirFS("/")), debug.SetMemoryLimit(-1))
}

// cgroupMemory reads the memory limit of the process's cgroup and of those
// above it, version 2 or 1; math.MaxInt64 when there is none.
func cgroupMemory(root fs.FS) int64 {
	limit := int64(math.MaxInt64)
	list, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return limit
	}
	for line := range strings.Lines(string(list)) {
		// hierarchy:controllers:path; version 2 has no controllers.
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		base, file := "sys/fs/cgroup", "memory.max"
		if f[1] != "" {
			if f[1] != "memory" {
				continue
			}
			base, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		}
		// In a container the path may be the host's, which is not visible:
		// the walk up ends at the mount, which then is the container's own.
		for dir := path.Clean("/" + f[2]); ; dir = path.Dir(dir) {
			if b, err := fs.ReadFile(root, path.Join(base, dir, file)); err == nil {
				if n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil && n > 0 {
					limit = min(limit, n)
				}
			}
			if dir == "/" {
				break
			}
		}
	}
	return limit
}
