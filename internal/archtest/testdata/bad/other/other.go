package other

func init() {}
