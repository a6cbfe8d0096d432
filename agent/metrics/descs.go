package metrics

import "github.com/prometheus/client_golang/prometheus"

var descs []*prometheus.Desc

// desc describes a metric. The names follow https://prometheus.io/docs/practices/naming/.
func desc(name, help string, labels ...string) *prometheus.Desc {
	d := prometheus.NewDesc("sluice_"+name, help, labels, nil)
	descs = append(descs, d)
	return d
}

var (
	build = desc("build_info", "Version of the agent.", "version")

	connections   = desc("connections_total", "Connections handed over by the kernel.")
	rejected      = desc("connections_rejected_total", "Connections refused before they were sessions.", "reason")
	sessions      = desc("sessions", "Sessions that go on now.")
	sessionsEnded = desc("sessions_ended_total", "Sessions that ended.", "reason")
	statements    = desc("statements_total", "Statements by their first action and the verdict.", "action", "verdict")
	observed      = desc("observed_denials_total", "Statements that ran because enforce is observe, by the rule that would have refused them; empty: no rule allowed it.", "rule")
	denials       = desc("denials_total", "Statements refused, by the rule that did; empty: no rule allowed it.", "rule")
	errors        = desc("statement_errors_total", "Statements that were let through and failed.", "sqlstate")
	masked        = desc("masked_values_total", "Values that were masked.", "tag")
	foreign       = desc("foreign_credentials_total", "Credentials presented by workloads that are not the placeholder.")
	held          = desc("statements_held", "Statements that wait for approval now.")
	bytes         = desc("bytes_total", "Bytes of sessions.", "direction")
	decision      = desc("decision_seconds", "Time from a text's arrival to the decision.")
	added         = desc("added_seconds", "Time from a judged statement to its release: budgets, the record, approval.")
	limited       = desc("statements_limited_total", "Statements that ran and were ended by a limit.")
	violations    = desc("protocol_violations_total", "Sessions that ended because either side broke the protocol.")
	cancels       = desc("cancels_total", "Cancel requests that found a statement.")
	poolIdle      = desc("pool_idle_sessions", "Sessions of servers that wait for a client.")
	poolTaken     = desc("pool_clients_total", "Clients where sessions are kept, by whether one was there for them: hit or miss.", "result")
	poolDiscards  = desc("pool_discards_total", "Sessions of servers that were closed and not kept.", "reason")
	unanswered    = desc("redirector_requests_failed_total", "What the redirector could not do for a session.", "request")
	judgements    = desc("judgements_total", "Judgements asked of the cache.", "result")
	catalogLoads  = desc("catalog_loads_total", "Loads of a database's catalog.", "result")
	catalogAge    = desc("catalog_age_seconds", "Time since a database's catalog was known to be current.", "database")

	recordEvents   = desc("record_events_total", "Events recorded.")
	recordBytes    = desc("record_bytes_total", "Bytes recorded.")
	recordRefused  = desc("record_refused_total", "Events that could not be recorded.")
	recordSyncs    = desc("record_syncs_total", "Times that the records were brought to the disk.")
	recordLag      = desc("record_lag_seconds", "Age of the oldest event that is not known to be on the disk.")
	recordSize     = desc("record_size_bytes", "Size of the records.")
	recordSegments = desc("record_segments", "Files of the records.")
	recordFull     = desc("record_full", "1 if there is no room for more records.")
	recordFailed   = desc("record_failed", "1 if recording failed; statements are refused.")

	tokens           = desc("tokens_total", "Tokens by the result of verification.", "result")
	issuerFetches    = desc("issuer_fetches_total", "Times that issuers were asked for their keys.")
	issuerErrors     = desc("issuer_errors_total", "Times that an issuer could not be asked.")
	proofs           = desc("credential_proofs_total", "Passwords proven to servers.", "database")
	credentialErrors = desc("credential_errors_total", "Times that there was no password, or the server asked for too much.", "database")
	derivations      = desc("credential_derivations_total", "Times that a password was hashed with a salt.", "database")

	mapUsed  = desc("bpf_map_entries", "Entries of a BPF map.", "map")
	mapMax   = desc("bpf_map_max_entries", "Entries that a BPF map has room for.", "map")
	connects = desc("connects_refused_total", "Calls of connect that the kernel refused.", "reason")
	enrolled = desc("enrolled_cgroups", "Cgroups that are enrolled.")
	problems = desc("redirect_problems", "What redirect found wrong with its programs.")

	restarts      = desc("proxy_restarts_total", "Times that the proxy process was started again.")
	policyLoaded  = desc("policy_loaded_timestamp_seconds", "When the policies in force were loaded.")
	policyReloads = desc("policy_reloads_total", "Policy sets by whether they were accepted.", "result")
)
