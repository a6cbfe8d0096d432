package pgtest

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// owner is the operating system user that a server runs as. PostgreSQL refuses
// to be run by root, so root hands over to someone else.
type owner struct {
	name       string
	uid, gid   int
	credential *syscall.Credential // nil: whoever we are
}

func account() (*owner, error) {
	if os.Geteuid() != 0 {
		return &owner{name: strconv.Itoa(os.Geteuid()), uid: os.Geteuid(), gid: os.Getegid()}, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		if u, err = user.Lookup("nobody"); err != nil {
			return nil, fmt.Errorf("no unprivileged user to run PostgreSQL: %w", err)
		}
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return nil, err
	}
	return &owner{u.Username, uid, gid, &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
}

// command prepares a command that runs as the owner, in a process group of its
// own so that an interrupt at the terminal reaches the test first.
func (o *owner) command(name string, args ...string) command {
	cmd := exec.Command(name, args...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8", "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: o.credential, Setpgid: true}
	return command{cmd}
}

// tempDir makes a folder that the owner may write to and others may pass through.
func (o *owner) tempDir() (string, error) {
	dir, err := os.MkdirTemp("", "sluicetest-pg-")
	if err != nil {
		return "", err
	}
	return dir, o.take(dir, 0o755)
}

func (o *owner) mkdir(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	return o.take(dir, 0o755)
}

func (o *owner) write(file, text string) error {
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	return o.take(file, 0o600)
}

func (o *owner) take(file string, mode os.FileMode) error {
	if err := os.Chmod(file, mode); err != nil {
		return err
	}
	if o.credential == nil {
		return nil
	}
	return os.Chown(file, o.uid, o.gid)
}
