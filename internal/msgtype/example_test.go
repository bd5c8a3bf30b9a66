package msgtype_test

import (
	"fmt"

	"github.com/go-nebnet/nebnet/internal/msgtype"
)

func ExampleSpec_Validate() {
	spec := msgtype.Spec{Name: "block", MaxSize: 4 << 20}.WithDefaults()
	fmt.Println(spec.Priority, spec.QueueBytes, spec.Validate())
	fmt.Println(msgtype.Spec{Name: "a block"}.Validate())
	// Output:
	// normal 4194320 <nil>
	// message type "a block": Name has byte 0x20 at 1: want 1 to 64 letters, digits, dots, dashes and underscores
}
