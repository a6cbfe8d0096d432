package channel

func (*Config) kind() kind          { return kindConfig }
func (*Config) files() (int, int)   { return 1, 1 }
func (m *Config) encode(e *encoder) { e.u64(m.Generation) }
func (m *Config) decode(d *decoder) { m.Generation = d.u64() }

func (*Accepted) kind() kind        { return kindAccepted }
func (*Accepted) files() (int, int) { return 1, 1 }

func (m *Accepted) encode(e *encoder) {
	e.u64(m.Conn)
	e.u8(uint8(m.Fate))
	e.text(m.Database, maxName)
	e.text(m.Host, maxName)
	e.addr(m.Destination)
	e.text(m.Unix, maxName)
	e.u64(m.Netns)
	e.addr(m.Client)
	e.text(m.Reason, maxText)
	e.u32(m.PID)
	e.u32(m.UID)
	e.text(m.User, maxName)
	e.text(m.Exe, maxPath)
	e.text(m.Cgroup, maxPath)
	e.u64(m.CgroupID)
	e.duration(m.At)
	e.text(m.Workload, maxName)
	e.text(m.Namespace, maxName)
	e.text(m.Account, maxName)
	e.text(m.Pod, maxName)
	e.text(m.PodUID, maxName)
	e.text(m.Container, maxName)
	e.text(m.Labels, maxLabels)
	token := uint8(0)
	if m.Token {
		token = 1
	}
	e.u8(token)
	e.u64(m.Passwords)
}

func (m *Accepted) decode(d *decoder) {
	m.Conn = d.u64()
	m.Fate = enum(d, Pass)
	m.Database = d.text(maxName)
	m.Host = d.text(maxName)
	m.Destination = d.addr()
	m.Unix = d.text(maxName)
	m.Netns = d.u64()
	m.Client = d.addr()
	m.Reason = d.text(maxText)
	m.PID = d.u32()
	m.UID = d.u32()
	m.User = d.text(maxName)
	m.Exe = d.text(maxPath)
	m.Cgroup = d.text(maxPath)
	m.CgroupID = d.u64()
	m.At = d.duration()
	m.Workload = d.text(maxName)
	m.Namespace = d.text(maxName)
	m.Account = d.text(maxName)
	m.Pod = d.text(maxName)
	m.PodUID = d.text(maxName)
	m.Container = d.text(maxName)
	m.Labels = d.text(maxLabels)
	m.Token = enum(d, uint8(1)) == 1
	m.Passwords = d.u64()
}

// Trim empties what does not fit into the message: a fact that is too long to be
// told counts as not proven, and matches no rule.
func (m *Accepted) Trim() {
	for _, f := range []struct {
		s    *string
		most int
	}{
		{&m.Host, maxName}, {&m.Reason, maxText}, {&m.User, maxName}, {&m.Exe, maxPath},
		{&m.Cgroup, maxPath}, {&m.Workload, maxName}, {&m.Namespace, maxName}, {&m.Account, maxName},
		{&m.Pod, maxName}, {&m.PodUID, maxName}, {&m.Container, maxName}, {&m.Labels, maxLabels},
	} {
		if len(*f.s) > f.most {
			*f.s = ""
		}
	}
}

func (*Dialled) kind() kind { return kindDialled }
func (m *Dialled) files() (int, int) {
	if m.Code == Done {
		return 1, 1
	}
	return 0, 0
}
func (m *Dialled) encode(e *encoder) { e.u64(m.ID); e.u8(uint8(m.Code)); e.text(clip(m.Text), maxText) }
func (m *Dialled) decode(d *decoder) {
	m.ID, m.Code, m.Text = d.u64(), enum(d, Limited), d.text(maxText)
}

func (*Proved) kind() kind        { return kindProved }
func (*Proved) files() (int, int) { return 0, 0 }
func (m *Proved) encode(e *encoder) {
	e.u64(m.ID)
	e.u8(uint8(m.Code))
	e.text(string(m.Proof), maxBytes)
	e.text(string(m.Signature), maxBytes)
	e.text(m.Answer, maxAuth)
	e.text(clip(m.Text), maxText)
}
func (m *Proved) decode(d *decoder) {
	m.ID, m.Code = d.u64(), enum(d, Limited)
	m.Proof, m.Signature = d.bytes(maxBytes), d.bytes(maxBytes)
	m.Answer, m.Text = d.text(maxAuth), d.text(maxText)
}

func (*Token) kind() kind { return kindToken }
func (m *Token) files() (int, int) {
	if m.Code == Done {
		return 1, 1
	}
	return 0, 0
}
func (m *Token) encode(e *encoder) {
	e.u64(m.ID)
	e.u8(uint8(m.Code))
	e.u64(m.Version)
	e.text(clip(m.Text), maxText)
}
func (m *Token) decode(d *decoder) {
	m.ID, m.Code, m.Version, m.Text = d.u64(), enum(d, Limited), d.u64(), d.text(maxText)
}

func (*Listener) kind() kind          { return kindListener }
func (*Listener) files() (int, int)   { return 1, 1 }
func (m *Listener) encode(e *encoder) { e.u8(uint8(m.Purpose)) }
func (m *Listener) decode(d *decoder) { m.Purpose = enum(d, ForAdmin) }

func (*Report) kind() kind        { return kindReport }
func (*Report) files() (int, int) { return 1, 1 }
func (*Report) encode(*encoder)   {}
func (*Report) decode(*decoder)   {}

func (*Drain) kind() kind          { return kindDrain }
func (*Drain) files() (int, int)   { return 0, 0 }
func (m *Drain) encode(e *encoder) { e.duration(m.Grace) }
func (m *Drain) decode(d *decoder) { m.Grace = d.duration() }

func (*Ready) kind() kind        { return kindReady }
func (*Ready) files() (int, int) { return 0, 0 }
func (m *Ready) encode(e *encoder) {
	e.u64(m.Generation)
	e.u8(uint8(m.Code))
	e.text(clip(m.Text), maxText)
}
func (m *Ready) decode(d *decoder) {
	m.Generation, m.Code, m.Text = d.u64(), enum(d, Limited), d.text(maxText)
}

func (*Dial) kind() kind        { return kindDial }
func (*Dial) files() (int, int) { return 0, 0 }
func (m *Dial) encode(e *encoder) {
	e.u64(m.ID)
	e.u8(uint8(m.Reach))
	e.u64(m.Conn)
	e.u32(m.Index)
}
func (m *Dial) decode(d *decoder) {
	m.ID, m.Reach, m.Conn, m.Index = d.u64(), enum(d, ToIssuer), d.u64(), d.u32()
}

func (*Prove) kind() kind        { return kindProve }
func (*Prove) files() (int, int) { return 0, 0 }
func (m *Prove) encode(e *encoder) {
	e.u64(m.ID)
	e.u64(m.Conn)
	e.text(m.Credential, maxName)
	e.u8(uint8(m.Method))
	e.text(string(m.Salt), maxBytes)
	e.u32(m.Iterations)
	e.text(string(m.AuthMessage), maxAuth)
}
func (m *Prove) decode(d *decoder) {
	m.ID, m.Conn, m.Credential, m.Method = d.u64(), d.u64(), d.text(maxName), enum(d, Cleartext)
	m.Salt, m.Iterations, m.AuthMessage = d.bytes(maxBytes), d.u32(), d.bytes(maxAuth)
}

func (*ReadToken) kind() kind          { return kindReadToken }
func (*ReadToken) files() (int, int)   { return 0, 0 }
func (m *ReadToken) encode(e *encoder) { e.u64(m.ID); e.u64(m.Conn) }
func (m *ReadToken) decode(d *decoder) { m.ID, m.Conn = d.u64(), d.u64() }

func (*Closed) kind() kind        { return kindClosed }
func (*Closed) files() (int, int) { return 0, 0 }
func (m *Closed) encode(e *encoder) {
	e.bad = e.bad || len(m.Conns) > ManyClosed
	e.u8(uint8(len(m.Conns)))
	for _, id := range m.Conns {
		e.u64(id)
	}
}
func (m *Closed) decode(d *decoder) {
	n := d.u8()
	if n > ManyClosed {
		d.bad = true
		return
	}
	for range n {
		m.Conns = append(m.Conns, d.u64())
	}
}

func (*Denied) kind() kind        { return kindDenied }
func (*Denied) files() (int, int) { return 0, 0 }
func (m *Denied) encode(e *encoder) {
	e.bad = e.bad || len(m.Cgroups) > ManyDenied || len(m.Counts) != len(m.Cgroups)
	if e.bad {
		return
	}
	e.u8(uint8(len(m.Cgroups)))
	for i, id := range m.Cgroups {
		e.u64(id)
		e.u32(m.Counts[i])
	}
}
func (m *Denied) decode(d *decoder) {
	n := d.u8()
	if n > ManyDenied {
		d.bad = true
		return
	}
	for range n {
		m.Cgroups, m.Counts = append(m.Cgroups, d.u64()), append(m.Counts, d.u32())
	}
}

// clip shortens a text that is only for a reader.
func clip(s string) string {
	if len(s) > maxText {
		return s[:maxText-3] + "..."
	}
	return s
}
