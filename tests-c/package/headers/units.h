/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* units.h - what the translation units of one program have of each other. */
extern tld_key_t drop_in_key, new_key, main_key;

int check_layout(void);
int check_macros(void);
int check_page(void);
int check_included(void);
int check_keys(void);
int check_errors(void);
int check_arguments(void);
int check_pin(void);
