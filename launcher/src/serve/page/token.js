// The token that the API asks for. It stays in this tab, for the page of the clusters and that of the API alike.
const NAME = "token";
export const token = () => sessionStorage.getItem(NAME) ?? "";
export const keep = text => sessionStorage.setItem(NAME, text.trim());
