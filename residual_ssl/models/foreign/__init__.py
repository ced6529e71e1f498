"""Networks of other libraries: what they return, how many channels they take, and adapters of some of them."""
