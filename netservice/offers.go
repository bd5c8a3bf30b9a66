package netservice

import "github.com/go-nebnet/nebnet/internal/session"

// TypeOffer is what a node tells its peers of a message type.
type TypeOffer struct {
	MaxSize     int  // bytes of a payload
	NoBroadcast bool // see MessageSpec
	Timed       bool // see GossipSpec
	Taken       bool // the node has a subscriber, and takes messages of the type
	// Rules is the version of the rules by which the node judges messages of the type
	// before it passes them on, 0 for none. Differing in it alone is not told.
	Rules uint32
}

// TypeDifference is a message type that two nodes have declared differently.
type TypeDifference struct {
	Type         string
	Ours, Theirs TypeOffer
}

func differences(all []session.Difference) (out []TypeDifference) {
	for _, d := range all {
		out = append(out, TypeDifference{Type: d.Ours.Name, Ours: typeOffer(d.Ours), Theirs: typeOffer(d.Theirs)})
	}
	return out
}

func typeOffer(o session.Offer) TypeOffer {
	return TypeOffer{
		MaxSize: o.MaxSize, NoBroadcast: o.Properties&session.Broadcast == 0,
		Timed: o.Properties&session.Timed != 0, Taken: o.Properties&session.Taken != 0,
		Rules: o.Rules,
	}
}
