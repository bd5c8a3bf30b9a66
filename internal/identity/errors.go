package identity

import "errors"

// Errors that Load and ReadSecret wrap together with the path of the file.
var (
	// ErrCorrupt means that the file does not hold a whole, consistent key.
	ErrCorrupt = errors.New("key file is corrupt")
	// ErrKeyType means that the file holds a key, but not an Ed25519 one.
	ErrKeyType = errors.New("key is not an Ed25519 key")
	// ErrPermissions means that others than the owner may read or write the file.
	ErrPermissions = errors.New("key file is open to other users (want mode 0600)")
	// ErrOwner means that the file belongs to another user, who may replace it.
	ErrOwner = errors.New("key file belongs to another user")
	// ErrSymlink means that the path is a symbolic link, dangling or not.
	ErrSymlink = errors.New("key file is a symbolic link")
	// ErrNotRegular means that the path is a directory, device, pipe or socket.
	ErrNotRegular = errors.New("key file is not a regular file")
)
