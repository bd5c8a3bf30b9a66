package router

// Counts are what became of the messages of a topic.
type Counts struct {
	Published, Relayed, Queued, Unsent   int64
	Delivered, Duplicates                int64
	Rejected, Ignored, Deferred, Expired int64
	Retaken, Forgotten, Announced        int64
	Dropped                              int64
	Away                                 map[string]int64 // by reason
}

// Reasons for which a message is turned away by the router.
const (
	AwayOverload = "overload" // too many wait to be validated
	AwayTimeout  = "timeout"  // waited for too long
	AwayParking  = "parking"  // no place among the deferred
)
