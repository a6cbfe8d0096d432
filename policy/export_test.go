package policy

// What tests of package policy_test look at.
var (
	Descriptions  = descriptions
	Conditions    = conditions
	DescribeField = describeField
)
