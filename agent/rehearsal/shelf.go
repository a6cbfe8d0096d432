package rehearsal

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"sluicegate.io/sluice/policy/sql"
)

// shelfSize is how many catalogs of one database are kept, the newest.
const shelfSize = 16

// maxSnapshot bounds what is read of one catalog, unpacked.
const maxSnapshot = 1 << 30

// A Shelf is a directory of catalogs as they were when they were loaded:
// DATABASE/DBNAME-TIME-EPOCH.json.gz. It holds names and definitions of objects,
// and no data.
type Shelf struct {
	dir string
	mu  sync.Mutex
}

// NewShelf returns the shelf beside the recordings in dir, which need not be there.
func NewShelf(dir string) *Shelf { return &Shelf{dir: filepath.Join(dir, "catalog")} }

// A Volume is one catalog on a Shelf.
type Volume struct {
	Time time.Time // when it was loaded
	path string
	mark string // of its epoch
}

// Put keeps a catalog of one database, loaded at a time, if
// the newest that is there is another one.
func (s *Shelf) Put(resource, dbname string, c *sql.Catalog, at time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	volumes, err := s.Volumes(resource, dbname)
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(c.Epoch))
	mark := hex.EncodeToString(sum[:6])
	if n := len(volumes); n > 0 && volumes[n-1].mark == mark {
		return nil
	}
	dir := filepath.Join(s.dir, part(resource))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("keep catalog: %w", err)
	}
	name := fmt.Sprintf("%s-%d-%s.json.gz", part(dbname), at.UnixMilli(), mark)
	if err := write(filepath.Join(dir, name), c); err != nil {
		return fmt.Errorf("keep catalog: %w", err)
	}
	for i := 0; i+shelfSize <= len(volumes); i++ {
		if err := os.Remove(volumes[i].path); err != nil {
			return fmt.Errorf("keep catalog: %w", err)
		}
	}
	return nil
}

// write puts a file in place as a whole.
func write(path string, c *sql.Catalog) (err error) {
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	z := gzip.NewWriter(f)
	err = json.NewEncoder(z).Encode(c)
	err = errors.Join(err, z.Close(), f.Close())
	if err != nil {
		os.Remove(path + ".new")
		return err
	}
	return os.Rename(path+".new", path)
}

// part makes a name one that is a file's, with no dash in it.
func part(name string) string {
	return strings.NewReplacer("-", "%2D", ".", "%2E").Replace(url.PathEscape(name))
}

// Volumes lists the catalogs of one database by the time they were loaded.
func (s *Shelf) Volumes(resource, dbname string) ([]Volume, error) {
	dir := filepath.Join(s.dir, part(resource))
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read catalogs: %w", err)
	}
	var all []Volume
	for _, e := range entries {
		rest, gz := strings.CutSuffix(e.Name(), ".json.gz")
		fields := strings.Split(rest, "-")
		if !gz || len(fields) != 3 || dbname != "" && fields[0] != part(dbname) {
			continue
		}
		if ms, err := strconv.ParseInt(fields[1], 10, 64); err == nil {
			all = append(all, Volume{Time: time.UnixMilli(ms), path: filepath.Join(dir, e.Name()), mark: fields[2]})
		}
	}
	slices.SortFunc(all, func(a, b Volume) int { return a.Time.Compare(b.Time) })
	return all, nil
}

// Read loads a catalog.
func (v *Volume) Read() (*sql.Catalog, error) {
	f, err := os.Open(v.path)
	if err != nil {
		return nil, fmt.Errorf("read catalog: %w", err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("read catalog %s: %w", filepath.Base(v.path), err)
	}
	c := new(sql.Catalog)
	if err := json.NewDecoder(io.LimitReader(z, maxSnapshot)).Decode(c); err != nil {
		return nil, fmt.Errorf("read catalog %s: %w", filepath.Base(v.path), err)
	}
	return c, nil
}

// Newest returns the latest catalog of a database, nil if there is none. Without
// a dbname it is that of any.
func (s *Shelf) Newest(resource, dbname string) (*sql.Catalog, error) {
	all, err := s.Volumes(resource, dbname)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return all[len(all)-1].Read()
}
