package handshake

import "bytes"

// Check decides whether two hellos belong together. It returns the version to
// speak, the highest that both know, or the reason to part. Both sides come to
// the same result. The order is self, chain, genesis, version: what is most
// lasting is said first.
func Check(local, remote Hello) (version uint32, r Reason) {
	switch {
	case local.Instance != 0 && local.Instance == remote.Instance:
		return 0, ReasonSelf
	case local.ChainID != remote.ChainID:
		return 0, ReasonWrongChain
	case !bytes.Equal(local.Genesis, remote.Genesis):
		return 0, ReasonWrongGenesis
	}
	lowest := max(local.VersionMin, remote.VersionMin)
	highest := min(local.VersionMax, remote.VersionMax)
	if highest < lowest || highest == 0 {
		return 0, ReasonWrongVersion
	}
	return highest, ReasonNone
}
